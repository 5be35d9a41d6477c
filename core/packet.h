/* AF_PACKET sockets (packet(7)): frames of one kind in through a locked BPF filter, frames out in batches. */
#ifndef MLB_PACKET_H
#define MLB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

enum mlb_packet_kind {
	MLB_PACKET_SEND,	/* receives nothing, sends on any interface */
	MLB_PACKET_ARP,		/* ARP requests and replies for IPv4 */
	MLB_PACKET_ND,		/* neighbour solicitations and advertisements */
	MLB_PACKET_UDP,		/* broadcast UDP over IPv4 to one port, never a fragment */
	MLB_PACKET_DHCP6,	/* UDP over IPv6 to port 546 of the interface's own MAC, without extension headers */
	MLB_PACKET_DHCP,	/* DHCPv4 answers to the interface's MAC as it is now (chaddr), never a fragment */
};

/* Open a non-blocking socket of the calling thread's network namespace. All but MLB_PACKET_SEND are bound to interface
 * `index` and see what the interface itself gets: no frame for another station, of a VLAN on top, or of our own.
 * 0 or -errno: -EPERM without CAP_NET_RAW, -ENODEV, -EOPNOTSUPP when the interface is not Ethernet. */
int mlb_packet_open(unsigned index, enum mlb_packet_kind kind, int *ret_fd);

/* The same for MLB_PACKET_UDP. */
int mlb_packet_open_udp(unsigned index, uint16_t port, int *ret_fd);

/* Take one frame of at most `size` bytes; longer ones are dropped. Where the kernel says that a UDP checksum is still to be
 * computed by hardware (the sender is on this machine), it is computed here: mlb_datagram_complete. 0; -EAGAIN: none waits;
 * -ENETDOWN: the interface went down (comes once; go on reading). */
int mlb_packet_receive(int fd, uint8_t *ret_frame, size_t size, size_t *ret_length);

/* Send one whole frame of any length on the interface that `fd` is bound to. 0 or -errno. */
int mlb_packet_send_bytes(int fd, const uint8_t *frame, size_t length);

/* Is the interface that `fd` was bound to still there? A socket that lost it hears nothing more, and no error says so. */
bool mlb_packet_is_bound(int fd);

/* Ask the interface's filter for frames to a group (PACKET_ADD_MEMBERSHIP), counted by the kernel; or take that back.
 * `fd` is any socket of mlb_packet_open. 0 or -errno. */
int mlb_packet_group(int fd, unsigned index, const uint8_t group[MLB_MAC_SIZE], bool is_member);

/* Send frames in order by sendmmsg(2); `index` 0 means the interface that `fd` is bound to. Where the interface's queue
 * is full (ENOBUFS, EAGAIN) wait for it, `patience_ms` in all; 0 never waits.
 * 0 and `*ret_sent` = count, or -errno and `*ret_sent` counts the frames that left before. */
int mlb_packet_send(int fd, unsigned index, const struct mlb_frame *frames, size_t count, int patience_ms,
		    size_t *ret_sent);

#endif
