/* Messages of rtnetlink(7) as structs. Every length is checked before a byte is copied out. */
#include <errno.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "netlink.h"

#define MAX_ATTRIBUTE IFLA_MAX	/* the largest of the tables read here */

_Static_assert(IFA_MAX <= MAX_ATTRIBUTE && RTA_MAX <= MAX_ATTRIBUTE && NDA_MAX <= MAX_ATTRIBUTE, "one table for all");

struct attributes {
	const struct nlattr *by_type[MAX_ATTRIBUTE + 1];
};

static int note_attribute(const struct nlattr *attribute, void *data)
{
	struct attributes *attributes = data;
	uint16_t type = mnl_attr_get_type(attribute);

	if (type <= MAX_ATTRIBUTE)	/* a newer kernel may say more than we know */
		attributes->by_type[type] = attribute;
	return MNL_CB_OK;
}

/* The fixed header of a message and the attributes behind it. */
static int read_message(const struct nlmsghdr *header, void *ret_fixed, size_t fixed_size,
			struct attributes *ret_attributes)
{
	memset(ret_attributes, 0, sizeof(*ret_attributes));
	if (header->nlmsg_len < MNL_NLMSG_HDRLEN + MNL_ALIGN(fixed_size))
		return -EBADMSG;
	memcpy(ret_fixed, mnl_nlmsg_get_payload(header), fixed_size);
	mnl_attr_parse(header, (unsigned)fixed_size, note_attribute, ret_attributes);
	return 0;
}

static void read_nested(const struct nlattr *nest, struct attributes *ret_attributes)
{
	memset(ret_attributes, 0, sizeof(*ret_attributes));
	if (mnl_attr_validate(nest, MNL_TYPE_NESTED) == 0)
		mnl_attr_parse_nested(nest, note_attribute, ret_attributes);
}

/* A number of exactly this size. 0, -ENOENT without the attribute, -EBADMSG. */
static int read_number(const struct nlattr *attribute, void *ret_value, size_t size)
{
	if (!attribute)
		return -ENOENT;
	if (mnl_attr_get_payload_len(attribute) != size)
		return -EBADMSG;
	memcpy(ret_value, mnl_attr_get_payload(attribute), size);
	return 0;
}

/* A text that has to fit with its NUL, which the kernel may leave out. */
static int read_text(const struct nlattr *attribute, char *ret_text, size_t size)
{
	size_t length;

	if (!attribute)
		return -ENOENT;
	length = strnlen(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
	if (length >= size)
		return -EBADMSG;
	memcpy(ret_text, mnl_attr_get_payload(attribute), length);
	ret_text[length] = '\0';
	return 0;
}

static int read_address(const struct nlattr *attribute, int family, struct mlb_address *ret_address)
{
	if (!attribute)
		return -ENOENT;
	if (mnl_attr_get_payload_len(attribute) != (family == 4 ? 4 : 16))
		return -EBADMSG;
	*ret_address = mlb_address_from_bytes(family, mnl_attr_get_payload(attribute));
	return 0;
}

/* 4, 6 or 0. */
static int family_of(unsigned char af)
{
	return af == AF_INET ? 4 : af == AF_INET6 ? 6 : 0;
}

static bool is_bad(int err)
{
	return err == -EBADMSG;
}

/* Hardware of other kinds has addresses of other lengths: those have no MAC. */
static bool read_mac(const struct nlattr *attribute, uint8_t mac[MLB_MAC_SIZE])
{
	return read_number(attribute, mac, MLB_MAC_SIZE) == 0;
}

/* IFLA_AF_SPEC holds AF_INET, which holds the array of IPV4_DEVCONF_* values, the first of which has number 1. */
static int read_ipv4_conf(const struct nlattr *af_spec, struct mlb_link *link)
{
	struct attributes families, inet;
	const struct nlattr *conf;
	size_t size;

	if (!af_spec)
		return -ENOENT;
	read_nested(af_spec, &families);
	if (!families.by_type[AF_INET])
		return -ENOENT;
	read_nested(families.by_type[AF_INET], &inet);
	conf = inet.by_type[IFLA_INET_CONF];
	if (!conf)
		return -ENOENT;
	size = mnl_attr_get_payload_len(conf);
	if (size > sizeof(link->ipv4_conf) - sizeof(link->ipv4_conf[0]))
		size = sizeof(link->ipv4_conf) - sizeof(link->ipv4_conf[0]);	/* a newer kernel has more */
	memcpy(link->ipv4_conf + 1, mnl_attr_get_payload(conf), size);
	link->has_ipv4_conf = true;
	return 0;
}

static int parse_link(const struct nlmsghdr *header, struct mlb_link *link)
{
	struct attributes attributes, info;
	struct ifinfomsg fixed;
	uint32_t parent = 0;

	if (read_message(header, &fixed, sizeof(fixed), &attributes) < 0)
		return -EBADMSG;
	if (fixed.ifi_family != AF_UNSPEC)	/* a bridge's port, told by the bridge */
		return 0;
	link->index = (uint32_t)fixed.ifi_index;
	link->is_up = fixed.ifi_flags & IFF_UP;
	link->is_running = fixed.ifi_flags & IFF_RUNNING;
	link->is_loopback = fixed.ifi_flags & IFF_LOOPBACK;
	link->has_mac = read_mac(attributes.by_type[IFLA_ADDRESS], link->mac);
	if (fixed.ifi_index <= 0 || read_text(attributes.by_type[IFLA_IFNAME], link->name, sizeof(link->name)) < 0 ||
	    is_bad(read_text(attributes.by_type[IFLA_IFALIAS], link->alias, sizeof(link->alias))) ||
	    is_bad(read_number(attributes.by_type[IFLA_MTU], &link->mtu, sizeof(link->mtu))) ||
	    is_bad(read_number(attributes.by_type[IFLA_MASTER], &link->master, sizeof(link->master))) ||
	    is_bad(read_number(attributes.by_type[IFLA_LINK], &parent, sizeof(parent))))
		return -EBADMSG;
	if (attributes.by_type[IFLA_LINKINFO]) {
		read_nested(attributes.by_type[IFLA_LINKINFO], &info);
		if (is_bad(read_text(info.by_type[IFLA_INFO_KIND], link->kind, sizeof(link->kind))))
			return -EBADMSG;
	}
	/* IFLA_LINK of a veth is its peer, and with a namespace id an index elsewhere. */
	if (!attributes.by_type[IFLA_LINK_NETNSID] && strcmp(link->kind, "veth") != 0 && parent != link->index)
		link->parent = parent;
	read_ipv4_conf(attributes.by_type[IFLA_AF_SPEC], link);
	return 1;
}

static int parse_address(const struct nlmsghdr *header, struct mlb_interface_address *address)
{
	struct attributes attributes;
	struct ifaddrmsg fixed;
	const struct nlattr *local;
	int family;

	if (read_message(header, &fixed, sizeof(fixed), &attributes) < 0)
		return -EBADMSG;
	family = family_of(fixed.ifa_family);
	if (family == 0)
		return 0;
	address->prefix = fixed.ifa_prefixlen;
	address->index = fixed.ifa_index;
	address->scope = fixed.ifa_scope;
	address->flags = fixed.ifa_flags;
	/* On a point-to-point link IFA_ADDRESS is the other end's (linux/if_addr.h). */
	local = attributes.by_type[IFA_LOCAL] ? attributes.by_type[IFA_LOCAL] : attributes.by_type[IFA_ADDRESS];
	if (read_address(local, family, &address->address) < 0 || fixed.ifa_prefixlen > (family == 4 ? 32 : 128) ||
	    is_bad(read_number(attributes.by_type[IFA_FLAGS], &address->flags, sizeof(address->flags))) ||
	    is_bad(read_number(attributes.by_type[IFA_PROTO], &address->protocol, sizeof(address->protocol))))
		return -EBADMSG;
	return 1;
}

/* RTA_GATEWAY, or RTA_VIA for an IPv4 route by way of IPv6 (RFC 5549): family in host order, then the address. */
static int read_gateway(const struct attributes *attributes, int family, struct mlb_route *route)
{
	const struct nlattr *via = attributes->by_type[RTA_VIA];
	const unsigned char *bytes;
	uint16_t af;
	int err = read_address(attributes->by_type[RTA_GATEWAY], family, &route->gateway);

	if (err == -ENOENT && via) {
		if (mnl_attr_get_payload_len(via) < sizeof(af))
			return -EBADMSG;
		bytes = mnl_attr_get_payload(via);
		memcpy(&af, bytes, sizeof(af));
		family = af <= UINT8_MAX ? family_of((unsigned char)af) : 0;
		if (family == 0 || mnl_attr_get_payload_len(via) != sizeof(af) + (family == 4 ? 4 : 16))
			return -EBADMSG;
		route->gateway = mlb_address_from_bytes(family, bytes + sizeof(af));
		err = 0;
	}
	route->has_gateway = err == 0;
	return is_bad(err) ? err : 0;
}

/* The first struct rtnexthop of RTA_MULTIPATH, with the attributes behind it. */
static int read_next_hop(const struct nlattr *multipath, int family, struct mlb_route *route)
{
	struct attributes attributes = { .by_type = { NULL } };
	const char *bytes = mnl_attr_get_payload(multipath);
	size_t size = mnl_attr_get_payload_len(multipath);
	struct rtnexthop hop;

	if (size < sizeof(hop))
		return -EBADMSG;
	memcpy(&hop, bytes, sizeof(hop));
	if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > size)
		return -EBADMSG;
	mnl_attr_parse_payload(bytes + sizeof(hop), hop.rtnh_len - sizeof(hop), note_attribute, &attributes);
	route->index = (uint32_t)hop.rtnh_ifindex;
	route->is_dead = hop.rtnh_flags & RTNH_F_DEAD;
	return read_gateway(&attributes, family, route);
}

static int parse_route(const struct nlmsghdr *header, struct mlb_route *route)
{
	struct attributes attributes;
	struct rtmsg fixed;
	int family, err;

	if (read_message(header, &fixed, sizeof(fixed), &attributes) < 0)
		return -EBADMSG;
	family = family_of(fixed.rtm_family);
	if (family == 0 || fixed.rtm_type != RTN_UNICAST || fixed.rtm_flags & RTM_F_CLONED)
		return 0;
	route->family = family;
	route->prefix = fixed.rtm_dst_len;
	route->table = fixed.rtm_table;
	route->is_dead = fixed.rtm_flags & RTNH_F_DEAD;
	route->destination.family = family;
	err = read_address(attributes.by_type[RTA_PREFSRC], family, &route->source);
	route->has_source = err == 0;
	if (is_bad(err) || fixed.rtm_dst_len > (family == 4 ? 32 : 128) ||
	    is_bad(read_address(attributes.by_type[RTA_DST], family, &route->destination)) ||
	    is_bad(read_number(attributes.by_type[RTA_OIF], &route->index, sizeof(route->index))) ||
	    is_bad(read_number(attributes.by_type[RTA_PRIORITY], &route->metric, sizeof(route->metric))) ||
	    is_bad(read_number(attributes.by_type[RTA_TABLE], &route->table, sizeof(route->table))))
		return -EBADMSG;
	if (attributes.by_type[RTA_MULTIPATH])
		err = read_next_hop(attributes.by_type[RTA_MULTIPATH], family, route);
	else
		err = read_gateway(&attributes, family, route);
	return err < 0 ? err : 1;
}

static int parse_neighbour(const struct nlmsghdr *header, struct mlb_neighbour *neighbour)
{
	struct attributes attributes;
	struct ndmsg fixed;
	int family;

	if (read_message(header, &fixed, sizeof(fixed), &attributes) < 0)
		return -EBADMSG;
	family = family_of(fixed.ndm_family);
	if (family == 0)
		return 0;
	neighbour->index = (uint32_t)fixed.ndm_ifindex;
	neighbour->state = fixed.ndm_state;
	neighbour->has_mac = read_mac(attributes.by_type[NDA_LLADDR], neighbour->mac);
	return read_address(attributes.by_type[NDA_DST], family, &neighbour->address) < 0 ? -EBADMSG : 1;
}

/* Not mnl_nlmsg_ok: that of libmnl 1.0.4 takes a length of 2 GiB and more for a negative one, which fits anywhere. */
const struct nlmsghdr *mlb_netlink_next_message(const void *bytes, size_t size, size_t *position)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)((const char *)bytes + *position);

	if (*position >= size || size - *position < sizeof(*header))
		return NULL;
	if (header->nlmsg_len < sizeof(*header) || header->nlmsg_len > size - *position)
		return NULL;
	*position += MNL_ALIGN(header->nlmsg_len);
	return header;
}

int mlb_netlink_parse(const struct nlmsghdr *header, struct mlb_netlink_event *ret_event)
{
	struct mlb_netlink_event event;
	int found;

	memset(&event, 0, sizeof(event));
	event.is_delete = header->nlmsg_type == RTM_DELLINK || header->nlmsg_type == RTM_DELADDR ||
			  header->nlmsg_type == RTM_DELROUTE || header->nlmsg_type == RTM_DELNEIGH;
	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		event.type = MLB_NETLINK_LINK;
		found = parse_link(header, &event.link);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		event.type = MLB_NETLINK_ADDRESS;
		found = parse_address(header, &event.address);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		event.type = MLB_NETLINK_ROUTE;
		found = parse_route(header, &event.route);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		event.type = MLB_NETLINK_NEIGHBOUR;
		found = parse_neighbour(header, &event.neighbour);
		break;
	default:
		return 0;
	}
	if (found == 1)
		*ret_event = event;
	return found;
}
