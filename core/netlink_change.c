/* Requests that change something: addresses, links, per-interface IPv4 settings. */
#include <errno.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "netlink.h"

/* An aligned buffer with room for every attribute below: the largest are an alias and the IPv4 settings. */
union request {
	struct nlmsghdr header;
	char bytes[1024];
};

static void *start_change(struct mlb_netlink *netlink, union request *request, uint16_t type, uint16_t flags,
			  size_t fixed_size)
{
	netlink->explanation[0] = '\0';
	memset(request, 0, sizeof(*request));
	mnl_nlmsg_put_header(request);
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = flags;
	return mnl_nlmsg_put_extra_header(&request->header, fixed_size);
}

static void put_address(union request *request, const struct mlb_address_change *change)
{
	struct ifaddrmsg *fixed = mnl_nlmsg_get_payload(&request->header);
	unsigned char bytes[16];
	size_t size = change->address.family == 4 ? 4 : 16;

	fixed->ifa_family = change->address.family == 4 ? AF_INET : AF_INET6;
	fixed->ifa_prefixlen = (unsigned char)change->prefix;
	fixed->ifa_index = change->index;
	mlb_address_to_bytes(&change->address, bytes);
	mnl_attr_put(&request->header, IFA_LOCAL, size, bytes);
	mnl_attr_put(&request->header, IFA_ADDRESS, size, bytes);
}

int mlb_netlink_add_address(struct mlb_netlink *netlink, const struct mlb_address_change *change)
{
	struct ifa_cacheinfo lifetime = { .ifa_prefered = change->preferred_s, .ifa_valid = change->valid_s };
	union request request;
	struct ifaddrmsg *fixed = start_change(netlink, &request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*fixed));

	put_address(&request, change);
	fixed->ifa_scope = change->scope;
	mnl_attr_put_u32(&request.header, IFA_FLAGS, change->flags);
	if (change->protocol != 0)
		mnl_attr_put_u8(&request.header, IFA_PROTO, change->protocol);
	if (change->preferred_s != MLB_FOREVER || change->valid_s != MLB_FOREVER)
		mnl_attr_put(&request.header, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
	return mlb_netlink_change(netlink, &request.header);
}

int mlb_netlink_delete_address(struct mlb_netlink *netlink, const struct mlb_address_change *change)
{
	union request request;

	start_change(netlink, &request, RTM_DELADDR, 0, sizeof(struct ifaddrmsg));
	put_address(&request, change);
	return mlb_netlink_change(netlink, &request.header);
}

/* IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_ADDR_GEN_MODE } } */
static void put_no_autoconf(struct nlmsghdr *header)
{
	struct nlattr *spec = mnl_attr_nest_start(header, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(header, AF_INET6);

	mnl_attr_put_u8(header, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(header, inet6);
	mnl_attr_nest_end(header, spec);
}

int mlb_netlink_set_link(struct mlb_netlink *netlink, uint32_t index, const struct mlb_link_change *change)
{
	union request request;
	struct ifinfomsg *fixed = start_change(netlink, &request, RTM_SETLINK, 0, sizeof(*fixed));

	if (change->alias && strlen(change->alias) >= MLB_ALIAS_SIZE)
		return -ENAMETOOLONG;
	fixed->ifi_index = (int)index;
	if (change->changes_up) {
		fixed->ifi_change = IFF_UP;
		fixed->ifi_flags = change->is_up ? IFF_UP : 0;
	}
	if (change->mac)
		mnl_attr_put(&request.header, IFLA_ADDRESS, MLB_MAC_SIZE, change->mac);
	if (change->alias)
		mnl_attr_put_str(&request.header, IFLA_IFALIAS, change->alias);
	if (change->stops_autoconf)
		put_no_autoconf(&request.header);
	return mlb_netlink_change(netlink, &request.header);
}

int mlb_netlink_delete_link(struct mlb_netlink *netlink, uint32_t index)
{
	union request request;
	struct ifinfomsg *fixed = start_change(netlink, &request, RTM_DELLINK, 0, sizeof(*fixed));

	fixed->ifi_index = (int)index;
	return mlb_netlink_change(netlink, &request.header);
}

int mlb_netlink_add_macvlan(struct mlb_netlink *netlink, uint32_t parent, const char *name, const uint8_t *mac,
			    uint32_t mode)
{
	union request request;
	struct nlattr *info, *data;

	if (strlen(name) >= IF_NAMESIZE)
		return -ENAMETOOLONG;
	start_change(netlink, &request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(&request.header, IFLA_IFNAME, name);
	mnl_attr_put_u32(&request.header, IFLA_LINK, parent);
	if (mac)
		mnl_attr_put(&request.header, IFLA_ADDRESS, MLB_MAC_SIZE, mac);
	info = mnl_attr_nest_start(&request.header, IFLA_LINKINFO);
	mnl_attr_put_str(&request.header, IFLA_INFO_KIND, "macvlan");
	data = mnl_attr_nest_start(&request.header, IFLA_INFO_DATA);
	mnl_attr_put_u32(&request.header, IFLA_MACVLAN_MODE, mode);
	mnl_attr_nest_end(&request.header, data);
	mnl_attr_nest_end(&request.header, info);
	return mlb_netlink_change(netlink, &request.header);
}

int mlb_netlink_set_ipv4_conf(struct mlb_netlink *netlink, uint32_t index, const struct mlb_ipv4_setting *settings,
			      size_t count)
{
	union request request;
	struct ifinfomsg *fixed = start_change(netlink, &request, RTM_SETLINK, 0, sizeof(*fixed));
	struct nlattr *spec, *inet, *conf;

	if (count > IPV4_DEVCONF_MAX)
		return -EINVAL;
	fixed->ifi_index = (int)index;
	spec = mnl_attr_nest_start(&request.header, IFLA_AF_SPEC);
	inet = mnl_attr_nest_start(&request.header, AF_INET);
	conf = mnl_attr_nest_start(&request.header, IFLA_INET_CONF);
	for (size_t i = 0; i < count; i++)
		mnl_attr_put_u32(&request.header, (uint16_t)settings[i].id, (uint32_t)settings[i].value);
	mnl_attr_nest_end(&request.header, conf);
	mnl_attr_nest_end(&request.header, inet);
	mnl_attr_nest_end(&request.header, spec);
	return mlb_netlink_change(netlink, &request.header);
}

/* Names of net/ipv4/devinet.c, as under /proc/sys/net/ipv4/conf. */
static const char *const conf_names[MLB_IPV4_CONF_SIZE] = {
	[IPV4_DEVCONF_FORWARDING] = "forwarding",
	[IPV4_DEVCONF_MC_FORWARDING] = "mc_forwarding",
	[IPV4_DEVCONF_PROXY_ARP] = "proxy_arp",
	[IPV4_DEVCONF_ACCEPT_REDIRECTS] = "accept_redirects",
	[IPV4_DEVCONF_SECURE_REDIRECTS] = "secure_redirects",
	[IPV4_DEVCONF_SEND_REDIRECTS] = "send_redirects",
	[IPV4_DEVCONF_SHARED_MEDIA] = "shared_media",
	[IPV4_DEVCONF_RP_FILTER] = "rp_filter",
	[IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE] = "accept_source_route",
	[IPV4_DEVCONF_BOOTP_RELAY] = "bootp_relay",
	[IPV4_DEVCONF_LOG_MARTIANS] = "log_martians",
	[IPV4_DEVCONF_TAG] = "tag",
	[IPV4_DEVCONF_ARPFILTER] = "arp_filter",
	[IPV4_DEVCONF_MEDIUM_ID] = "medium_id",
	[IPV4_DEVCONF_NOXFRM] = "disable_xfrm",
	[IPV4_DEVCONF_NOPOLICY] = "disable_policy",
	[IPV4_DEVCONF_FORCE_IGMP_VERSION] = "force_igmp_version",
	[IPV4_DEVCONF_ARP_ANNOUNCE] = "arp_announce",
	[IPV4_DEVCONF_ARP_IGNORE] = "arp_ignore",
	[IPV4_DEVCONF_PROMOTE_SECONDARIES] = "promote_secondaries",
	[IPV4_DEVCONF_ARP_ACCEPT] = "arp_accept",
	[IPV4_DEVCONF_ARP_NOTIFY] = "arp_notify",
	[IPV4_DEVCONF_ACCEPT_LOCAL] = "accept_local",
	[IPV4_DEVCONF_SRC_VMARK] = "src_valid_mark",
	[IPV4_DEVCONF_PROXY_ARP_PVLAN] = "proxy_arp_pvlan",
	[IPV4_DEVCONF_ROUTE_LOCALNET] = "route_localnet",
	[IPV4_DEVCONF_IGMPV2_UNSOLICITED_REPORT_INTERVAL] = "igmpv2_unsolicited_report_interval",
	[IPV4_DEVCONF_IGMPV3_UNSOLICITED_REPORT_INTERVAL] = "igmpv3_unsolicited_report_interval",
	[IPV4_DEVCONF_IGNORE_ROUTES_WITH_LINKDOWN] = "ignore_routes_with_linkdown",
	[IPV4_DEVCONF_DROP_UNICAST_IN_L2_MULTICAST] = "drop_unicast_in_l2_multicast",
	[IPV4_DEVCONF_DROP_GRATUITOUS_ARP] = "drop_gratuitous_arp",
	[IPV4_DEVCONF_BC_FORWARDING] = "bc_forwarding",
	[IPV4_DEVCONF_ARP_EVICT_NOCARRIER] = "arp_evict_nocarrier",
};

const char *mlb_ipv4_conf_name(int id)
{
	return id > 0 && id < MLB_IPV4_CONF_SIZE ? conf_names[id] : NULL;
}

int mlb_ipv4_conf_id(const char *name)
{
	for (int id = 1; id < MLB_IPV4_CONF_SIZE; id++)
		if (conf_names[id] && strcmp(conf_names[id], name) == 0)
			return id;
	return 0;
}
