#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define REQUEST_SIZE 256	/* of a query */
#define RECEIVE_SIZE 32768	/* the kernel fills no more than that in one part of a dump */
#define REPLY_KEPT 65536	/* a larger reply is given back after use */
#define REPLY_MOST (256u << 20)
#define DUMP_ATTEMPTS 8
#define ANSWER_TIMEOUT_S 5	/* the answer is there before sendto(2) returns: only a broken kernel waits */

/* An aligned buffer for a query. */
union request {
	struct nlmsghdr header;
	char bytes[REQUEST_SIZE];
};

static int set_option(struct mnl_socket *socket, int option, int value)
{
	return mnl_socket_setsockopt(socket, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int mlb_netlink_open(struct mlb_netlink *netlink)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int err = 0;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		err = -errno;
	if (err == 0)
		err = set_option(socket, NETLINK_GET_STRICT_CHK, 1);	/* else the kernel ignores filters */
	if (err < 0) {
		mnl_socket_close(socket);
		return err;
	}
	set_option(socket, NETLINK_EXT_ACK, 1);		/* comfort: no words without it */
	set_option(socket, NETLINK_CAP_ACK, 1);
	*netlink = (struct mlb_netlink){ .socket = socket, .sequence = (uint32_t)time(NULL) };
	return 0;
}

void mlb_netlink_close(struct mlb_netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	free(netlink->reply);
	*netlink = (struct mlb_netlink){ .socket = NULL };
}

void mlb_netlink_forget_reply(struct mlb_netlink *netlink)
{
	netlink->reply_size = 0;
	if (netlink->reply_capacity <= REPLY_KEPT)
		return;
	free(netlink->reply);
	netlink->reply = NULL;
	netlink->reply_capacity = 0;
}

static int keep_message(struct mlb_netlink *netlink, const struct nlmsghdr *header)
{
	size_t size = MNL_ALIGN(header->nlmsg_len);
	size_t needed = netlink->reply_size + size;

	if (needed > REPLY_MOST)
		return -EMSGSIZE;
	if (needed > netlink->reply_capacity) {
		size_t capacity = needed * 2 > REPLY_KEPT ? needed * 2 : REPLY_KEPT;
		char *larger = realloc(netlink->reply, capacity);

		if (!larger)
			return -ENOMEM;
		netlink->reply = larger;
		netlink->reply_capacity = capacity;
	}
	memcpy(netlink->reply + netlink->reply_size, header, header->nlmsg_len);
	netlink->reply_size = needed;
	return 0;
}

/* NLMSGERR_ATTR_MSG is behind the copy of our request, of which NETLINK_CAP_ACK leaves the header alone. */
static void note_explanation(struct mlb_netlink *netlink, const struct nlmsghdr *header, const struct nlmsghdr *request)
{
	size_t offset = sizeof(struct nlmsgerr);
	const struct nlattr *attribute;
	size_t length;

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(header->nlmsg_flags & NLM_F_CAPPED))
		offset += MNL_ALIGN(request->nlmsg_len) - MNL_NLMSG_HDRLEN;
	if (mnl_nlmsg_get_payload_len(header) < offset)
		return;
	mnl_attr_for_each(attribute, header, (unsigned)offset) {
		if (mnl_attr_get_type(attribute) != NLMSGERR_ATTR_MSG)
			continue;
		length = strnlen(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
		if (length >= sizeof(netlink->explanation))
			length = sizeof(netlink->explanation) - 1;
		memcpy(netlink->explanation, mnl_attr_get_payload(attribute), length);
		netlink->explanation[length] = '\0';
	}
}

/* How NLMSG_ERROR and NLMSG_DONE end a request: 0 or -errno. */
static int read_end(struct mlb_netlink *netlink, const struct nlmsghdr *header, const struct nlmsghdr *request)
{
	struct nlmsgerr error = { .error = 0 };
	size_t size = header->nlmsg_type == NLMSG_DONE ? sizeof(error.error) : sizeof(error);

	if (mnl_nlmsg_get_payload_len(header) < size)
		return header->nlmsg_type == NLMSG_DONE ? 0 : -EBADMSG;
	memcpy(&error, mnl_nlmsg_get_payload(header), size);
	if (header->nlmsg_type == NLMSG_ERROR && error.error < 0)
		note_explanation(netlink, header, request);
	return error.error;
}

/* One message of the answer. 1: it was the last; 0: more come; -errno: the kernel's answer, or ours. */
static int take_message(struct mlb_netlink *netlink, const struct nlmsghdr *header, const struct nlmsghdr *request)
{
	int err;

	if (header->nlmsg_seq != request->nlmsg_seq)	/* left over from a request that we gave up */
		return 0;
	if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
		err = read_end(netlink, header, request);
		return err < 0 ? err : 1;
	}
	if (header->nlmsg_type < NLMSG_MIN_TYPE)
		return 0;
	err = keep_message(netlink, header);
	if (err < 0)
		return err;
	return header->nlmsg_flags & NLM_F_MULTI || request->nlmsg_flags & NLM_F_ACK ? 0 : 1;
}

/* Receive until the request has ended. `*ret_interrupted`: the tables changed between two parts of a dump. */
static int receive(struct mlb_netlink *netlink, const struct nlmsghdr *request, bool *ret_interrupted)
{
	union {
		struct nlmsghdr header;
		char bytes[RECEIVE_SIZE];
	} buffer;
	const struct nlmsghdr *header;
	ssize_t received;
	size_t position;
	int ended = 0;

	while (ended == 0) {
		received = mnl_socket_recvfrom(netlink->socket, &buffer, sizeof(buffer));
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		position = 0;
		while (ended == 0 &&
		       (header = mlb_netlink_next_message(&buffer, (size_t)received, &position)) != NULL) {
			*ret_interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			ended = take_message(netlink, header, request);
		}
	}
	return ended < 0 ? ended : 0;
}

static int transact(struct mlb_netlink *netlink, struct nlmsghdr *request)
{
	bool is_interrupted;
	int err;

	for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
		netlink->reply_size = 0;
		is_interrupted = false;
		request->nlmsg_seq = ++netlink->sequence;
		if (mnl_socket_sendto(netlink->socket, request, request->nlmsg_len) < 0)
			return -errno;
		err = receive(netlink, request, &is_interrupted);
		if (err < 0 || !is_interrupted)
			return err;
	}
	return -EAGAIN;
}

int mlb_netlink_change(struct mlb_netlink *netlink, struct nlmsghdr *header)
{
	header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	return transact(netlink, header);
}

static void *start_query(struct mlb_netlink *netlink, union request *request, uint16_t type, uint16_t flags,
			 size_t fixed_size)
{
	netlink->explanation[0] = '\0';
	netlink->reply_size = 0;
	memset(request, 0, sizeof(*request));
	mnl_nlmsg_put_header(request);
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(&request->header, fixed_size);
}

static unsigned char af_of(int family)
{
	return family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
}

int mlb_netlink_query_links(struct mlb_netlink *netlink)
{
	union request request;

	start_query(netlink, &request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(&request.header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return transact(netlink, &request.header);
}

int mlb_netlink_query_link(struct mlb_netlink *netlink, uint32_t index, const char *name)
{
	union request request;
	struct ifinfomsg *fixed = start_query(netlink, &request, RTM_GETLINK, 0, sizeof(*fixed));

	if (index == 0 && strlen(name) >= IF_NAMESIZE)
		return -ENODEV;
	fixed->ifi_index = (int)index;
	if (index == 0)
		mnl_attr_put_strz(&request.header, IFLA_IFNAME, name);
	mnl_attr_put_u32(&request.header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return transact(netlink, &request.header);
}

int mlb_netlink_query_addresses(struct mlb_netlink *netlink, uint32_t index)
{
	union request request;
	struct ifaddrmsg *fixed = start_query(netlink, &request, RTM_GETADDR, NLM_F_DUMP, sizeof(*fixed));

	fixed->ifa_index = index;
	return transact(netlink, &request.header);
}

int mlb_netlink_query_routes(struct mlb_netlink *netlink, int family, uint32_t table)
{
	union request request;
	struct rtmsg *fixed = start_query(netlink, &request, RTM_GETROUTE, NLM_F_DUMP, sizeof(*fixed));
	int err;

	fixed->rtm_family = af_of(family);
	fixed->rtm_type = RTN_UNICAST;	/* each address has a local route: they stay in the kernel */
	if (table != 0)
		mnl_attr_put_u32(&request.header, RTA_TABLE, table);
	err = transact(netlink, &request.header);
	return err == -ENOENT ? 0 : err;	/* a table that was never used does not exist */
}

int mlb_netlink_query_neighbours(struct mlb_netlink *netlink, uint32_t index)
{
	union request request;

	start_query(netlink, &request, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
	if (index != 0)
		mnl_attr_put_u32(&request.header, NDA_IFINDEX, index);
	return transact(netlink, &request.header);
}

int mlb_netlink_next_event(const struct mlb_netlink *netlink, size_t *position, struct mlb_netlink_event *ret_event)
{
	const struct nlmsghdr *header;
	int found = 0;

	while (found == 0 &&
	       (header = mlb_netlink_next_message(netlink->reply, netlink->reply_size, position)) != NULL)
		found = mlb_netlink_parse(header, ret_event);
	return found;
}

int mlb_netlink_link(struct mlb_netlink *netlink, uint32_t index, const char *name, struct mlb_link *ret_link)
{
	struct mlb_netlink_event event;
	size_t position = 0;
	int found = mlb_netlink_query_link(netlink, index, name);

	if (found == 0)
		found = mlb_netlink_next_event(netlink, &position, &event);
	if (found < 0)
		return found;
	if (found == 0 || event.type != MLB_NETLINK_LINK)
		return -ENODEV;
	*ret_link = event.link;
	return 0;
}

int mlb_netlink_default_route(struct mlb_netlink *netlink, int family, struct mlb_route *ret_route)
{
	struct mlb_netlink_event event;
	struct mlb_route best = { .family = 0 };
	size_t position = 0;
	int found = mlb_netlink_query_routes(netlink, family, RT_TABLE_MAIN);

	if (found < 0)
		return found;
	while ((found = mlb_netlink_next_event(netlink, &position, &event)) == 1) {
		if (event.type != MLB_NETLINK_ROUTE || event.route.prefix != 0 || event.route.is_dead)
			continue;
		if (best.family == 0 || event.route.metric < best.metric)
			best = event.route;
	}
	if (found < 0)
		return found;
	if (best.family == 0)
		return -ENOENT;
	*ret_route = best;
	return 0;
}

int mlb_netlink_monitor_open(int buffer_size)
{
	unsigned groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
			  RTMGRP_IPV6_ROUTE;
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	/* SO_RCVBUFFORCE passes net.core.rmem_max, but needs CAP_NET_ADMIN. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size, sizeof(buffer_size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof(buffer_size));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int mlb_netlink_monitor_read(int fd, void *buffer, size_t size)
{
	struct sockaddr_nl sender = { .nl_pid = UINT32_MAX };
	socklen_t sender_size = sizeof(sender);
	ssize_t received;

	do {
		received = recvfrom(fd, buffer, size, MSG_TRUNC, (struct sockaddr *)&sender, &sender_size);
		if (received < 0 && errno == EAGAIN)
			return 0;
		if (received < 0 && errno != EINTR)
			return -errno;
	} while (received < 0 || sender.nl_pid != 0);	/* only the kernel has port 0 */
	return (size_t)received > size ? -ENOBUFS : (int)received;
}
