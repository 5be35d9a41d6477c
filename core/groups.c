#include "groups.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ndp.h"
#include "octets.h"
#include "packet.h"

#define SOCKETS_MOST 1024
#define NO_SOCKET UINT32_MAX	/* a membership of the packet socket instead */

struct member {
	uint32_t index;
	uint32_t low;		/* the last 24 bits of the addresses */
	uint32_t joins;
	uint32_t socket;	/* which socket the kernel counts it for, or NO_SOCKET */
};

struct group_socket {
	int fd;
	bool is_full;
};

struct mlb_groups {
	struct member *members;		/* by index, then low */
	size_t count, room;
	struct group_socket sockets[SOCKETS_MOST];
	uint32_t nsockets;
};

struct mlb_groups *mlb_groups_new(void)
{
	return calloc(1, sizeof(struct mlb_groups));
}

void mlb_groups_free(struct mlb_groups *groups)
{
	if (!groups)
		return;
	for (uint32_t i = 0; i < groups->nsockets; i++)
		close(groups->sockets[i].fd);
	free(groups->members);
	free(groups);
}

static uint32_t low_bits(const struct in6_addr *address)
{
	return (uint32_t)address->s6_addr[13] << 16 | (uint32_t)mlb_get16(address->s6_addr + 14);
}

static size_t place_of(const struct mlb_groups *groups, uint32_t index, uint32_t low)
{
	size_t first = 0, last = groups->count;

	while (first < last) {
		size_t middle = first + (last - first) / 2;
		const struct member *member = &groups->members[middle];

		if (member->index < index || (member->index == index && member->low < low))
			first = middle + 1;
		else
			last = middle;
	}
	return first;
}

static struct member *find(struct mlb_groups *groups, uint32_t index, uint32_t low)
{
	size_t at = place_of(groups, index, low);

	if (at == groups->count || groups->members[at].index != index || groups->members[at].low != low)
		return NULL;
	return &groups->members[at];
}

static int membership(int fd, unsigned index, const struct in6_addr *group, int option)
{
	struct ipv6_mreq request = { .ipv6mr_multiaddr = *group, .ipv6mr_interface = index };

	return setsockopt(fd, IPPROTO_IPV6, option, &request, sizeof(request)) < 0 ? -errno : 0;
}

static int open_socket(struct mlb_groups *groups)
{
	int fd;

	if (groups->nsockets == SOCKETS_MOST)
		return -ENOBUFS;
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	groups->sockets[groups->nsockets++] = (struct group_socket){ .fd = fd };
	return 0;
}

/* Join by the first socket that has room. */
static int join_somewhere(struct mlb_groups *groups, unsigned index, const struct in6_addr *group, uint32_t *ret_socket)
{
	for (uint32_t i = 0;; i++) {
		bool is_fresh = i == groups->nsockets;
		int result = is_fresh ? open_socket(groups) : 0;

		if (result < 0)
			return result;
		if (groups->sockets[i].is_full)
			continue;
		result = membership(groups->sockets[i].fd, index, group, IPV6_JOIN_GROUP);
		if (is_fresh || (result != -ENOMEM && result != -ENOBUFS)) {
			*ret_socket = i;
			return result;
		}
		groups->sockets[i].is_full = true;
	}
}

static int insert(struct mlb_groups *groups, const struct member *member)
{
	size_t at = place_of(groups, member->index, member->low);

	if (groups->count == groups->room) {
		size_t room = groups->room ? groups->room * 2 : 64;
		struct member *members = realloc(groups->members, room * sizeof(*members));

		if (!members)
			return -ENOMEM;
		groups->members = members;
		groups->room = room;
	}
	memmove(groups->members + at + 1, groups->members + at, (groups->count - at) * sizeof(*member));
	groups->members[at] = *member;
	groups->count++;
	return 0;
}

/* Join by IPv6 where there is IPv6, else by the packet socket. */
static int join(struct mlb_groups *groups, int packet_fd, const struct in6_addr *group, struct member *member)
{
	int result = join_somewhere(groups, member->index, group, &member->socket);
	uint8_t mac[MLB_MAC_SIZE];

	if (result != -EINVAL && result != -EAFNOSUPPORT)
		return result;
	member->socket = NO_SOCKET;
	mlb_ndp_group_mac(group, mac);
	return mlb_packet_group(packet_fd, member->index, mac, true);
}

/* Fails when the interface is gone; then there is nothing left to leave. */
static void leave(struct mlb_groups *groups, int packet_fd, const struct in6_addr *group, const struct member *member)
{
	uint8_t mac[MLB_MAC_SIZE];

	if (member->socket == NO_SOCKET) {
		mlb_ndp_group_mac(group, mac);
		mlb_packet_group(packet_fd, member->index, mac, false);
		return;
	}
	membership(groups->sockets[member->socket].fd, member->index, group, IPV6_LEAVE_GROUP);
	groups->sockets[member->socket].is_full = false;
}

int mlb_groups_join(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address)
{
	struct member *known = find(groups, index, low_bits(address));
	struct member member = { .index = index, .low = low_bits(address), .joins = 1 };
	struct in6_addr group;
	int result;

	if (known) {
		known->joins++;
		return 0;
	}
	mlb_ndp_solicited_node(address, &group);
	result = join(groups, packet_fd, &group, &member);
	if (result < 0)
		return result;
	result = insert(groups, &member);
	if (result < 0)
		leave(groups, packet_fd, &group, &member);
	return result;
}

void mlb_groups_leave(struct mlb_groups *groups, unsigned index, int packet_fd, const struct in6_addr *address)
{
	struct member *member = find(groups, index, low_bits(address));
	struct in6_addr group;
	size_t at;

	if (!member || --member->joins > 0)
		return;
	mlb_ndp_solicited_node(address, &group);
	leave(groups, packet_fd, &group, member);
	at = (size_t)(member - groups->members);
	groups->count--;
	memmove(member, member + 1, (groups->count - at) * sizeof(*member));
}
