#include "packet.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/icmp6.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "datagram.h"
#include "datagram6.h"
#include "dhcp.h"
#include "dhcp6.h"
#include "octets.h"

#define BATCH 64			/* frames a call of sendmmsg */
#define RECEIVE_BUFFER (1 << 20)	/* bytes in the kernel: some 1,300 small frames */
#define CONTROL_PRIORITY 7		/* TC_PRIO_CONTROL of linux/pkt_sched.h, as the kernel's own ND has it */

/* A filter is a row of checks, each of which must hold. */
#define FILTER_SIZE 48
#define REJECT 0xff	/* a jump to the end, patched when the length is known */

struct filter {
	struct sock_filter code[FILTER_SIZE];
	uint8_t count;
};

static void put(struct filter *filter, unsigned code, uint8_t jt, uint8_t jf, uint32_t k)
{
	filter->code[filter->count++] = (struct sock_filter){ (uint16_t)code, jt, jf, k };
}

/* The value of BPF_B, BPF_H or BPF_W size at `offset` is from `low` to `high`. */
static void need(struct filter *filter, unsigned size, uint32_t offset, uint32_t low, uint32_t high)
{
	put(filter, BPF_LD | BPF_ABS | size, 0, 0, offset);
	put(filter, BPF_JMP | BPF_JGE | BPF_K, 0, REJECT, low);
	put(filter, BPF_JMP | BPF_JGT | BPF_K, REJECT, 0, high);
}

/* The same at `offset` behind an IPv4 header of any length. */
static void need_behind_ipv4(struct filter *filter, unsigned size, uint32_t offset, uint32_t value)
{
	put(filter, BPF_LDX | BPF_B | BPF_MSH, 0, 0, MLB_ETHER_HEADER);
	put(filter, BPF_LD | BPF_IND | size, 0, 0, MLB_ETHER_HEADER + offset);
	put(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, REJECT, value);
}

static void finish(struct filter *filter)
{
	uint8_t reject = (uint8_t)(filter->count + 1);

	for (uint8_t i = 0; i < filter->count; i++) {
		struct sock_filter *step = &filter->code[i];

		if (step->jt == REJECT)
			step->jt = (uint8_t)(reject - i - 1);
		if (step->jf == REJECT)
			step->jf = (uint8_t)(reject - i - 1);
	}
	put(filter, BPF_RET | BPF_K, 0, 0, 0xffff);
	put(filter, BPF_RET | BPF_K, 0, 0, 0);
}

/* Broadcast first: that drops nearly all IPv4 of a busy interface. No options, so that the port stands where it does. */
static void build_udp_filter(struct filter *filter, unsigned index, uint16_t port)
{
	filter->count = 0;
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE), PACKET_BROADCAST, PACKET_BROADCAST);
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX), index, index);
	need(filter, BPF_H, 12, ETHERTYPE_IP, ETHERTYPE_IP);
	need(filter, BPF_B, 14, 0x45, 0x45);
	need(filter, BPF_H, 20, 0x4000, 0x4000);
	need(filter, BPF_B, 23, IPPROTO_UDP, IPPROTO_UDP);
	need(filter, BPF_H, 36, port, port);
	finish(filter);
}

/* Broadcast answers reach every client of the LAN; with chaddr checked here, each wakes one of them. Kea sends to
 * 255.255.255.255 in unicast frames, so neither address of the destination is asked for. */
static void build_dhcp_filter(struct filter *filter, unsigned index, const uint8_t mac[MLB_MAC_SIZE])
{
	const uint32_t udp = 0, bootp = 8;

	filter->count = 0;
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE), PACKET_HOST, PACKET_MULTICAST);
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX), index, index);
	need(filter, BPF_H, 12, ETHERTYPE_IP, ETHERTYPE_IP);
	need(filter, BPF_B, 23, IPPROTO_UDP, IPPROTO_UDP);
	put(filter, BPF_LD | BPF_ABS | BPF_H, 0, 0, 20);
	put(filter, BPF_JMP | BPF_JSET | BPF_K, REJECT, 0, 0x3fff);	/* more fragments, or an offset */
	need_behind_ipv4(filter, BPF_H, udp + 2, MLB_DHCP_CLIENT_PORT);
	need_behind_ipv4(filter, BPF_B, bootp, 2);			/* op: a reply */
	need_behind_ipv4(filter, BPF_W, bootp + 28, mlb_get32(mac));	/* chaddr */
	need_behind_ipv4(filter, BPF_H, bootp + 32, mlb_get16(mac + 4));
	finish(filter);
}

/* Servers answer to the link-local address (RFC 8415 section 18.3.10), so to our station alone. */
static void build_dhcp6_filter(struct filter *filter, unsigned index)
{
	filter->count = 0;
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE), PACKET_HOST, PACKET_HOST);
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX), index, index);
	need(filter, BPF_H, 12, ETHERTYPE_IPV6, ETHERTYPE_IPV6);
	need(filter, BPF_B, 20, IPPROTO_UDP, IPPROTO_UDP);
	need(filter, BPF_H, 56, MLB_DHCP6_CLIENT_PORT, MLB_DHCP6_CLIENT_PORT);
	finish(filter);
}

static void build_filter(struct filter *filter, unsigned index, enum mlb_packet_kind kind)
{
	filter->count = 0;
	/* A frame with a VLAN tag that no device took is PACKET_OTHERHOST; one that a VLAN device on top took has that
	 * device's index. Both reach a socket bound to the interface below. */
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE), PACKET_HOST, PACKET_MULTICAST);
	need(filter, BPF_W, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX), index, index);
	if (kind == MLB_PACKET_ARP) {
		need(filter, BPF_H, 12, ETHERTYPE_ARP, ETHERTYPE_ARP);
		need(filter, BPF_H, 14, ARPHRD_ETHER, ARPHRD_ETHER);
		need(filter, BPF_H, 16, ETHERTYPE_IP, ETHERTYPE_IP);
		need(filter, BPF_H, 20, ARPOP_REQUEST, ARPOP_REPLY);
	} else {
		need(filter, BPF_H, 12, ETHERTYPE_IPV6, ETHERTYPE_IPV6);
		need(filter, BPF_B, 20, IPPROTO_ICMPV6, IPPROTO_ICMPV6);
		need(filter, BPF_B, 21, 255, 255);	/* RFC 4861 section 7.1: the hop limit */
		need(filter, BPF_B, 54, ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT);
	}
	finish(filter);
}

static int bind_to(int fd, unsigned index, uint16_t type)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(type),
		.sll_ifindex = (int)index,
	};
	socklen_t size = sizeof(address);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	return address.sll_hatype == ARPHRD_ETHER ? 0 : -EOPNOTSUPP;
}

/* The MAC of an interface. A binding to protocol 0 hears nothing, so that it may come before the filter. */
static int read_mac(int fd, unsigned index, uint8_t ret_mac[MLB_MAC_SIZE])
{
	struct sockaddr_ll address;
	socklen_t size = sizeof(address);
	int result = bind_to(fd, index, 0);

	if (result < 0)
		return result;
	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	memcpy(ret_mac, address.sll_addr, MLB_MAC_SIZE);
	return 0;
}

/* Attach the filter for good: nothing that gets hold of the socket later can widen what it hears. */
static int attach_filter(int fd, unsigned index, enum mlb_packet_kind kind, uint16_t port)
{
	uint8_t mac[MLB_MAC_SIZE] = { 0 };
	static const int on = 1;
	struct filter filter;
	struct sock_fprog program = { .filter = filter.code };

	if (kind == MLB_PACKET_DHCP) {
		int result = read_mac(fd, index, mac);

		if (result < 0)
			return result;
		build_dhcp_filter(&filter, index, mac);
	} else if (kind == MLB_PACKET_DHCP6) {
		build_dhcp6_filter(&filter, index);
	} else if (kind == MLB_PACKET_UDP) {
		build_udp_filter(&filter, index, port);
	} else {
		build_filter(&filter, index, kind);
	}
	program.len = filter.count;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static uint16_t type_of(enum mlb_packet_kind kind)
{
	if (kind == MLB_PACKET_ARP)
		return ETHERTYPE_ARP;
	return kind == MLB_PACKET_UDP || kind == MLB_PACKET_DHCP ? ETHERTYPE_IP : ETHERTYPE_IPV6;
}

static int set_up_receive(int fd, unsigned index, enum mlb_packet_kind kind, uint16_t port)
{
	static const int bytes = RECEIVE_BUFFER, on = 1;
	int result = attach_filter(fd, index, kind, port);

	if (result < 0)
		return result;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0)
		return -errno;
	if ((kind == MLB_PACKET_DHCP || kind == MLB_PACKET_DHCP6) &&
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0)
		return -errno;
	/* Last, since from here on frames arrive. */
	return bind_to(fd, index, type_of(kind));
}

static int open_socket(unsigned index, enum mlb_packet_kind kind, uint16_t port, int *ret_fd)
{
	static const int priority = CONTROL_PRIORITY;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)) < 0)
		result = -errno;
	if (result == 0 && kind != MLB_PACKET_SEND)
		result = set_up_receive(fd, index, kind, port);
	if (result < 0) {
		close(fd);
		return result;
	}
	*ret_fd = fd;
	return 0;
}

bool mlb_packet_is_bound(int fd)
{
	struct sockaddr_ll address;
	socklen_t size = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sll_ifindex > 0;
}

int mlb_packet_open(unsigned index, enum mlb_packet_kind kind, int *ret_fd)
{
	return open_socket(index, kind, 0, ret_fd);
}

int mlb_packet_open_udp(unsigned index, uint16_t port, int *ret_fd)
{
	return open_socket(index, MLB_PACKET_UDP, port, ret_fd);
}

int mlb_packet_group(int fd, unsigned index, const uint8_t group[MLB_MAC_SIZE], bool is_member)
{
	struct packet_mreq request = {
		.mr_ifindex = (int)index,
		.mr_type = PACKET_MR_MULTICAST,
		.mr_alen = MLB_MAC_SIZE,
	};

	memcpy(request.mr_address, group, MLB_MAC_SIZE);
	if (setsockopt(fd, SOL_PACKET, is_member ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP,
		       &request, sizeof(request)) < 0)
		return -errno;
	return 0;
}

static int send_batch(int fd, struct sockaddr_ll *to, const struct mlb_frame *frames, size_t count)
{
	struct iovec parts[BATCH];
	struct mmsghdr messages[BATCH];

	if (count > BATCH)
		count = BATCH;
	for (size_t i = 0; i < count; i++) {
		parts[i] = (struct iovec){ (void *)frames[i].bytes, frames[i].length };
		messages[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
		if (to) {
			messages[i].msg_hdr.msg_name = to;
			messages[i].msg_hdr.msg_namelen = sizeof(*to);
		}
	}
	int sent = sendmmsg(fd, messages, (unsigned)count, 0);

	return sent < 0 ? -errno : sent;
}

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The interface's queue (ENOBUFS: nothing tells when it has room) or the socket's buffer (EAGAIN) is full. */
static void wait_for_room(int fd, int error)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	struct timespec pause = { .tv_nsec = 1000000 };

	if (error == -EAGAIN)
		poll(&room, 1, 1);
	else
		nanosleep(&pause, NULL);
}

int mlb_packet_send(int fd, unsigned index, const struct mlb_frame *frames, size_t count, int patience_ms,
		    size_t *ret_sent)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)index, .sll_halen = MLB_MAC_SIZE };
	int64_t deadline = patience_ms > 0 ? monotonic_ms() + patience_ms : 0;
	size_t sent = 0;
	int result = 0;

	while (sent < count) {
		result = send_batch(fd, index ? &to : NULL, frames + sent, count - sent);
		if (result > 0) {
			sent += (size_t)result;
			continue;
		}
		if (result != -ENOBUFS && result != -EAGAIN && result != -EINTR)
			break;
		if (patience_ms <= 0 || monotonic_ms() >= deadline)
			break;
		wait_for_room(fd, result);
	}
	*ret_sent = sent;
	return sent == count ? 0 : result;
}

static bool is_checksum_open(struct msghdr *message)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		struct tpacket_auxdata auxiliary;

		if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA ||
		    part->cmsg_len < CMSG_LEN(sizeof(auxiliary)))
			continue;
		memcpy(&auxiliary, CMSG_DATA(part), sizeof(auxiliary));
		return auxiliary.tp_status & TP_STATUS_CSUMNOTREADY;
	}
	return false;
}

/* Each leaves what is not its own as it is. */
static void complete(uint8_t *frame, size_t length)
{
	mlb_datagram_complete(frame, length);
	mlb_datagram6_complete(frame, length);
}

int mlb_packet_receive(int fd, uint8_t *ret_frame, size_t size, size_t *ret_length)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec part = { ret_frame, size };
	struct msghdr message;
	ssize_t length;

	do {
		message = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
					   .msg_controllen = sizeof(control) };
		length = recvmsg(fd, &message, 0);
	} while ((length < 0 && errno == EINTR) || (length >= 0 && message.msg_flags & MSG_TRUNC));
	if (length < 0)
		return -errno;
	if (is_checksum_open(&message))
		complete(ret_frame, (size_t)length);
	*ret_length = (size_t)length;
	return 0;
}

int mlb_packet_send_bytes(int fd, const uint8_t *frame, size_t length)
{
	ssize_t sent;

	do
		sent = send(fd, frame, length, 0);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}
