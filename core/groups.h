/* Solicited-node multicast groups (RFC 4291 section 2.7.1) of addresses that are on no interface: in the interface's own
 * filter (packet(7)) and, by MLD (RFC 3810), in the switches that snoop. Several addresses may share a group. */
#ifndef MLB_GROUPS_H
#define MLB_GROUPS_H

#include <netinet/in.h>

struct mlb_groups;

/* NULL when out of memory. Freeing leaves every group. */
struct mlb_groups *mlb_groups_new(void);
void mlb_groups_free(struct mlb_groups *groups);

/* Join the group of `address` on interface `index`; `packet_fd` is a packet socket of that interface. Each join is undone by
 * one leave. A socket has room for a few hundred groups (net.core.optmem_max): as many as needed are opened.
 * 0 or -errno: -ENODEV no such interface, -EINVAL no IPv6 on it. */
int mlb_groups_join(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address);
void mlb_groups_leave(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address);

#endif
