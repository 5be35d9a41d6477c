/* rtnetlink(7) over libmnl: links, addresses, routes, neighbours, macvlan, per-interface IPv4 settings, notifications.
 * A socket belongs to the network namespace of the thread that opens it. Requests are synchronous: the kernel has
 * answered when sendto(2) returns. */
#ifndef MLB_NETLINK_H
#define MLB_NETLINK_H

#include <linux/ip.h>
#include <linux/netlink.h>
#include <net/if.h>

#include "address.h"
#include "ether.h"

#define MLB_ALIAS_SIZE 256	/* IFALIASZ of linux/if.h, NUL included */
#define MLB_KIND_SIZE 32
#define MLB_IPV4_CONF_SIZE (IPV4_DEVCONF_MAX + 1)

/* The socket for requests. */
struct mlb_netlink {
	struct mnl_socket *socket;	/* NULL: closed */
	uint32_t sequence;
	char *reply;			/* messages of the last query, one after the other */
	size_t reply_size;
	size_t reply_capacity;
	char explanation[256];		/* the kernel's own words about the last failure, or "" */
};

struct mlb_link {
	uint32_t index;
	char name[IF_NAMESIZE];
	char kind[MLB_KIND_SIZE];	/* "veth", "macvlan"; "" for hardware and lo */
	char alias[MLB_ALIAS_SIZE];	/* "" when there is none */
	uint8_t mac[MLB_MAC_SIZE];
	bool has_mac;
	bool is_up;			/* administratively */
	bool is_running;		/* ready for use: has carrier too */
	bool is_loopback;
	bool has_ipv4_conf;
	uint32_t mtu;
	uint32_t parent;		/* the link below it in the same namespace; 0: none */
	uint32_t master;		/* bridge or bond it belongs to; 0: none */
	int32_t ipv4_conf[MLB_IPV4_CONF_SIZE];	/* by IPV4_DEVCONF_* of linux/ip.h */
};

struct mlb_interface_address {
	struct mlb_address address;
	int prefix;
	uint32_t index;
	uint32_t flags;			/* IFA_F_* of linux/if_addr.h */
	uint8_t scope;			/* RT_SCOPE_* of linux/rtnetlink.h */
	uint8_t protocol;		/* IFA_PROTO: who put it there; 0 is nobody in particular */
};

/* A unicast route; one with several next hops is shown with the first. */
struct mlb_route {
	struct mlb_address destination;	/* of a default route: all zeros */
	struct mlb_address gateway;
	struct mlb_address source;
	int family;
	int prefix;
	bool has_gateway;
	bool has_source;
	bool is_dead;			/* its interface is down */
	uint32_t index;
	uint32_t metric;		/* lower is preferred */
	uint32_t table;
};

struct mlb_neighbour {
	struct mlb_address address;
	uint8_t mac[MLB_MAC_SIZE];
	bool has_mac;
	uint32_t index;
	uint16_t state;			/* NUD_* of linux/neighbour.h */
};

enum mlb_netlink_type {
	MLB_NETLINK_LINK,
	MLB_NETLINK_ADDRESS,
	MLB_NETLINK_ROUTE,
	MLB_NETLINK_NEIGHBOUR,
};

/* What one message of rtnetlink says exists (or, `is_delete`, no longer does). */
struct mlb_netlink_event {
	enum mlb_netlink_type type;
	bool is_delete;
	union {
		struct mlb_link link;
		struct mlb_interface_address address;
		struct mlb_route route;
		struct mlb_neighbour neighbour;
	};
};

/* The message at `*position` of what was received, which moves on to the next one; NULL at the end, and where a length does
 * not fit. `bytes` is aligned as a struct nlmsghdr is. */
const struct nlmsghdr *mlb_netlink_next_message(const void *bytes, size_t size, size_t *position);

/* Read a message, which fills `header->nlmsg_len` bytes. 1; 0 for what is of no interest here (other types, local and
 * blackhole routes, cached clones, bridge tables); -EBADMSG for lengths that do not fit. */
int mlb_netlink_parse(const struct nlmsghdr *header, struct mlb_netlink_event *ret_event);

/* Open in this thread's network namespace. 0 or -errno. Close is idempotent; all zeros is closed. */
int mlb_netlink_open(struct mlb_netlink *netlink);
void mlb_netlink_close(struct mlb_netlink *netlink);

/* Send a request and wait for its acknowledgement. `header` has room behind it for nothing: its length is final. 0 or
 * -errno, then `explanation` is set. */
int mlb_netlink_change(struct mlb_netlink *netlink, struct nlmsghdr *header);

/* Queries: 0 or -errno. What they found is then read with mlb_netlink_next_event. A dump that changed under way is
 * asked again. `index` 0 means every interface, `family` 0 both. */
int mlb_netlink_query_links(struct mlb_netlink *netlink);
int mlb_netlink_query_link(struct mlb_netlink *netlink, uint32_t index, const char *name);
int mlb_netlink_query_addresses(struct mlb_netlink *netlink, uint32_t index);
int mlb_netlink_query_routes(struct mlb_netlink *netlink, int family, uint32_t table);
int mlb_netlink_query_neighbours(struct mlb_netlink *netlink, uint32_t index);

/* The next event of the last query; `*position` starts at 0. 1, 0 at the end, -EBADMSG. */
int mlb_netlink_next_event(const struct mlb_netlink *netlink, size_t *position, struct mlb_netlink_event *ret_event);

/* Give back the memory of a large reply. */
void mlb_netlink_forget_reply(struct mlb_netlink *netlink);

/* One link by its index, or by its name when index is 0. 0, -ENODEV or -errno. */
int mlb_netlink_link(struct mlb_netlink *netlink, uint32_t index, const char *name, struct mlb_link *ret_link);

/* The default route of the main table that the kernel prefers: of those that are up, the one with the lowest metric.
 * 0, -ENOENT when there is none, -errno. */
int mlb_netlink_default_route(struct mlb_netlink *netlink, int family, struct mlb_route *ret_route);

#define MLB_FOREVER UINT32_MAX

/* An address to add or delete. */
struct mlb_address_change {
	struct mlb_address address;
	int prefix;
	uint32_t index;
	uint8_t protocol;
	uint8_t scope;
	uint32_t flags;			/* IFA_F_NODAD, IFA_F_NOPREFIXROUTE */
	uint32_t preferred_s;		/* seconds or MLB_FOREVER */
	uint32_t valid_s;
};

/* 0; -EEXIST when it is there; -ENODEV, -EPERM, ... */
int mlb_netlink_add_address(struct mlb_netlink *netlink, const struct mlb_address_change *change);

/* 0; -EADDRNOTAVAIL when it is not there. */
int mlb_netlink_delete_address(struct mlb_netlink *netlink, const struct mlb_address_change *change);

/* Fields of a link that change; NULL and false leave one as it is. */
struct mlb_link_change {
	const uint8_t *mac;
	const char *alias;		/* "" removes it */
	bool changes_up;
	bool is_up;
	bool stops_autoconf;		/* no IPv6 address of its own making (IN6_ADDR_GEN_MODE_NONE) */
};

int mlb_netlink_set_link(struct mlb_netlink *netlink, uint32_t index, const struct mlb_link_change *change);
int mlb_netlink_delete_link(struct mlb_netlink *netlink, uint32_t index);

/* Make a macvlan, down. `mode` is MACVLAN_MODE_* of linux/if_link.h; `mac` may be NULL. */
int mlb_netlink_add_macvlan(struct mlb_netlink *netlink, uint32_t parent, const char *name, const uint8_t *mac,
			    uint32_t mode);

struct mlb_ipv4_setting {
	int id;				/* IPV4_DEVCONF_* */
	int32_t value;
};

/* Set what /proc/sys/net/ipv4/conf/<interface>/ holds, by IFLA_INET_CONF: works where /proc/sys is read-only. */
int mlb_netlink_set_ipv4_conf(struct mlb_netlink *netlink, uint32_t index, const struct mlb_ipv4_setting *settings,
			      size_t count);

/* The sysctl's name of an IPV4_DEVCONF_*, or NULL; and the other way round, or 0. */
const char *mlb_ipv4_conf_name(int id);
int mlb_ipv4_conf_id(const char *name);

/* A socket that hears of every change to links, addresses, routes and neighbours. `buffer_size`: bytes the kernel may
 * keep for us. Non-blocking. A descriptor or -errno. */
int mlb_netlink_monitor_open(int buffer_size);

/* Read one datagram of the kernel: its size; 0 when there is none; -ENOBUFS when some were lost; -errno. */
int mlb_netlink_monitor_read(int fd, void *buffer, size_t size);

#endif
