#include "datagram.h"

#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "octets.h"

#define IPV4_HEADER 20
#define UDP_HEADER 8
#define DONT_FRAGMENT 0x4000
#define FRAGMENT_BITS 0x3fff	/* more fragments, and the offset */
#define TTL 64			/* a unicast may go by a router */

/* Where the parts of a frame are. */
struct layout {
	size_t ip;
	size_t ip_header;
	size_t udp;
	size_t udp_length;
};

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

static uint32_t add_octets(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += mlb_get16(bytes + i);
	if (length & 1)
		sum += (uint32_t)bytes[length - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Sum of the UDP datagram and its pseudo header (RFC 768), not yet complemented. */
static uint16_t sum_udp(const uint8_t *ip, const uint8_t *udp, size_t udp_length)
{
	uint32_t sum = add_octets(0, ip + 12, 8);

	sum += IPPROTO_UDP + (uint32_t)udp_length;
	return fold(add_octets(sum, udp, udp_length));
}

/* Complemented; zero would mean that there is none. */
static uint16_t udp_checksum(const uint8_t *ip, const uint8_t *udp, size_t udp_length)
{
	uint16_t checksum = (uint16_t)~sum_udp(ip, udp, udp_length);

	return checksum ? checksum : 0xffff;
}

int mlb_datagram_wrap(const struct mlb_datagram *datagram, uint8_t *ret_frame, size_t size, size_t *ret_length)
{
	uint8_t *ip = ret_frame + MLB_ETHER_HEADER, *udp = ip + IPV4_HEADER;
	size_t udp_length = UDP_HEADER + datagram->length;

	if (datagram->length > UINT16_MAX - IPV4_HEADER - UDP_HEADER || MLB_DATAGRAM_HEADERS + datagram->length > size)
		return -EMSGSIZE;
	memset(ret_frame, 0, MLB_DATAGRAM_HEADERS);
	memcpy(ret_frame, datagram->destination_mac, MLB_MAC_SIZE);
	memcpy(ret_frame + MLB_MAC_SIZE, datagram->source_mac, MLB_MAC_SIZE);
	mlb_put16(ret_frame + 12, ETHERTYPE_IP);
	ip[0] = 0x45;
	ip[1] = 0xc0;	/* CS6, network control (RFC 4594 section 3.2) */
	mlb_put16(ip + 2, (uint16_t)(IPV4_HEADER + udp_length));
	mlb_put16(ip + 6, DONT_FRAGMENT);
	ip[8] = TTL;
	ip[9] = IPPROTO_UDP;
	mlb_put32(ip + 12, datagram->source);
	mlb_put32(ip + 16, datagram->destination);
	mlb_put16(ip + 10, (uint16_t)~fold(add_octets(0, ip, IPV4_HEADER)));
	mlb_put16(udp, datagram->source_port);
	mlb_put16(udp + 2, datagram->destination_port);
	mlb_put16(udp + 4, (uint16_t)udp_length);
	if (datagram->length)
		memcpy(udp + UDP_HEADER, datagram->payload, datagram->length);
	mlb_put16(udp + 6, udp_checksum(ip, udp, udp_length));
	*ret_length = MLB_DATAGRAM_HEADERS + datagram->length;
	return 0;
}

/* Lengths first; a short frame is padded, so there may be more than the packet. */
static int find_parts(const uint8_t *frame, size_t length, struct layout *ret, const char **ret_why)
{
	const uint8_t *ip = frame + MLB_ETHER_HEADER;
	size_t header, total;

	if (length < MLB_DATAGRAM_HEADERS)
		return refuse(ret_why, "it is too short for IPv4 and UDP");
	if (mlb_get16(frame + 12) != ETHERTYPE_IP || ip[0] >> 4 != 4)
		return refuse(ret_why, "it is not IPv4");
	header = (size_t)(ip[0] & 0x0f) * 4;
	total = mlb_get16(ip + 2);
	if (header < IPV4_HEADER || total < header + UDP_HEADER || total > length - MLB_ETHER_HEADER)
		return refuse(ret_why, "the lengths in its IPv4 header do not fit");
	if (mlb_get16(ip + 6) & FRAGMENT_BITS)
		return refuse(ret_why, "it is a fragment");
	if (ip[9] != IPPROTO_UDP)
		return refuse(ret_why, "it is not UDP");
	*ret = (struct layout){ .ip = MLB_ETHER_HEADER, .ip_header = header, .udp = MLB_ETHER_HEADER + header };
	ret->udp_length = mlb_get16(frame + ret->udp + 4);
	if (ret->udp_length < UDP_HEADER || ret->udp_length > total - header)
		return refuse(ret_why, "the length in its UDP header does not fit");
	return 0;
}

int mlb_datagram_unwrap(const uint8_t *frame, size_t length, struct mlb_datagram *ret_datagram, const char **ret_why)
{
	struct layout at;
	const uint8_t *ip, *udp;
	int result = find_parts(frame, length, &at, ret_why);

	if (result < 0)
		return result;
	ip = frame + at.ip;
	udp = frame + at.udp;
	if (fold(add_octets(0, ip, at.ip_header)) != 0xffff)
		return refuse(ret_why, "its IPv4 checksum is wrong");
	if (mlb_get16(udp + 6) != 0 && sum_udp(ip, udp, at.udp_length) != 0xffff)
		return refuse(ret_why, "its UDP checksum is wrong");
	*ret_datagram = (struct mlb_datagram){
		.source = mlb_get32(ip + 12),
		.destination = mlb_get32(ip + 16),
		.source_port = mlb_get16(udp),
		.destination_port = mlb_get16(udp + 2),
		.payload = udp + UDP_HEADER,
		.length = at.udp_length - UDP_HEADER,
	};
	memcpy(ret_datagram->destination_mac, frame, MLB_MAC_SIZE);
	memcpy(ret_datagram->source_mac, frame + MLB_MAC_SIZE, MLB_MAC_SIZE);
	return 0;
}

void mlb_datagram_complete(uint8_t *frame, size_t length)
{
	struct layout at;
	uint8_t *udp;

	if (find_parts(frame, length, &at, NULL) < 0)
		return;
	udp = frame + at.udp;
	mlb_put16(udp + 6, 0);
	mlb_put16(udp + 6, udp_checksum(frame + at.ip, udp, at.udp_length));
}
