/* Solicited-node multicast groups (RFC 4291 section 2.7.1) of addresses that are not on the interface. IPV6_JOIN_GROUP opens
 * the interface's own filter and tells, by MLD (RFC 3810), the switches that snoop; where the interface has no IPv6,
 * packet(7)'s membership opens the filter at least. Several addresses may share a group. The kernel walks its lists: a
 * join costs some 50 us with 5,000 groups, 100 with 10,000. */
#ifndef MLB_GROUPS_H
#define MLB_GROUPS_H

#include <netinet/in.h>

struct mlb_groups;

/* NULL when out of memory. Freeing leaves every group. */
struct mlb_groups *mlb_groups_new(void);
void mlb_groups_free(struct mlb_groups *groups);

/* Join the group of `address` on interface `index`; `packet_fd` is a packet socket of that interface. Each join is undone by
 * one leave. A socket has room for a few hundred groups (net.core.optmem_max): as many as needed are opened.
 * 0 or -errno: -ENODEV no such interface. */
int mlb_groups_join(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address);
void mlb_groups_leave(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address);

#endif
