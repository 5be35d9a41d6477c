#include "datagram6.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdbool.h>
#include <string.h>

#include "octets.h"

#define IPV6_HEADER 40
#define UDP_HEADER 8
#define HOP_LIMIT 64

static int refuse(const char **ret_why, const char *why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

/* Sum of the datagram at `udp` and its pseudo header (RFC 8200 section 8.1), folded, not yet complemented. */
static uint16_t sum_udp(const uint8_t *ip, const uint8_t *udp, size_t udp_length)
{
	uint64_t sum = IPPROTO_UDP + udp_length;

	for (size_t i = 8; i < IPV6_HEADER; i += 2)
		sum += mlb_get16(ip + i);
	for (size_t i = 0; i + 1 < udp_length; i += 2)
		sum += mlb_get16(udp + i);
	if (udp_length & 1)
		sum += (uint64_t)udp[udp_length - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void set_checksum(const uint8_t *ip, uint8_t *udp, size_t udp_length)
{
	uint16_t checksum;

	mlb_put16(udp + 6, 0);
	checksum = (uint16_t)~sum_udp(ip, udp, udp_length);
	mlb_put16(udp + 6, checksum ? checksum : 0xffff);
}

int mlb_datagram6_wrap(const struct mlb_datagram6 *datagram, uint8_t *ret_frame, size_t size, size_t *ret_length)
{
	uint8_t *ip = ret_frame + MLB_ETHER_HEADER, *udp = ip + IPV6_HEADER;
	size_t udp_length = UDP_HEADER + datagram->length;

	if (datagram->length > UINT16_MAX - UDP_HEADER || MLB_DATAGRAM6_HEADERS + datagram->length > size)
		return -EMSGSIZE;
	memset(ret_frame, 0, MLB_DATAGRAM6_HEADERS);
	memcpy(ret_frame, datagram->destination_mac, MLB_MAC_SIZE);
	memcpy(ret_frame + MLB_MAC_SIZE, datagram->source_mac, MLB_MAC_SIZE);
	mlb_put16(ret_frame + 12, ETHERTYPE_IPV6);
	mlb_put32(ip, 0x6c000000);	/* version 6, CS6, network control (RFC 4594 section 3.2) */
	mlb_put16(ip + 4, (uint16_t)udp_length);
	ip[6] = IPPROTO_UDP;
	ip[7] = HOP_LIMIT;
	memcpy(ip + 8, &datagram->source, sizeof(datagram->source));
	memcpy(ip + 24, &datagram->destination, sizeof(datagram->destination));
	mlb_put16(udp, datagram->source_port);
	mlb_put16(udp + 2, datagram->destination_port);
	mlb_put16(udp + 4, (uint16_t)udp_length);
	if (datagram->length)
		memcpy(udp + UDP_HEADER, datagram->payload, datagram->length);
	set_checksum(ip, udp, udp_length);
	*ret_length = MLB_DATAGRAM6_HEADERS + datagram->length;
	return 0;
}

/* Lengths first; a short frame is padded, so there may be more than the packet. */
static int find_udp(const uint8_t *frame, size_t length, size_t *ret_udp_length, const char **ret_why)
{
	const uint8_t *ip = frame + MLB_ETHER_HEADER;
	size_t payload;

	if (length < MLB_DATAGRAM6_HEADERS)
		return refuse(ret_why, "it is too short for IPv6 and UDP");
	if (mlb_get16(frame + 12) != ETHERTYPE_IPV6 || ip[0] >> 4 != 6)
		return refuse(ret_why, "it is not IPv6");
	payload = mlb_get16(ip + 4);
	if (payload < UDP_HEADER || payload > length - MLB_ETHER_HEADER - IPV6_HEADER)
		return refuse(ret_why, "the length in its IPv6 header does not fit");
	if (ip[6] != IPPROTO_UDP)
		return refuse(ret_why, "it is not UDP, or has extension headers");
	*ret_udp_length = mlb_get16(ip + IPV6_HEADER + 4);
	if (*ret_udp_length < UDP_HEADER || *ret_udp_length > payload)
		return refuse(ret_why, "the length in its UDP header does not fit");
	return 0;
}

int mlb_datagram6_unwrap(const uint8_t *frame, size_t length, struct mlb_datagram6 *ret_datagram, const char **ret_why)
{
	const uint8_t *ip = frame + MLB_ETHER_HEADER, *udp = ip + IPV6_HEADER;
	size_t udp_length;
	int result = find_udp(frame, length, &udp_length, ret_why);

	if (result < 0)
		return result;
	if (mlb_get16(udp + 6) == 0 || sum_udp(ip, udp, udp_length) != 0xffff)
		return refuse(ret_why, "its UDP checksum is wrong");
	*ret_datagram = (struct mlb_datagram6){
		.source_port = mlb_get16(udp),
		.destination_port = mlb_get16(udp + 2),
		.payload = udp + UDP_HEADER,
		.length = udp_length - UDP_HEADER,
	};
	memcpy(ret_datagram->destination_mac, frame, MLB_MAC_SIZE);
	memcpy(ret_datagram->source_mac, frame + MLB_MAC_SIZE, MLB_MAC_SIZE);
	memcpy(&ret_datagram->source, ip + 8, sizeof(ret_datagram->source));
	memcpy(&ret_datagram->destination, ip + 24, sizeof(ret_datagram->destination));
	return 0;
}

void mlb_datagram6_complete(uint8_t *frame, size_t length)
{
	uint8_t *ip = frame + MLB_ETHER_HEADER;
	size_t udp_length;

	if (find_udp(frame, length, &udp_length, NULL) == 0)
		set_checksum(ip, ip + IPV6_HEADER, udp_length);
}

struct in6_addr mlb_link_local(const uint8_t mac[MLB_MAC_SIZE])
{
	struct in6_addr address = { .s6_addr = { 0xfe, 0x80 } };

	memcpy(address.s6_addr + 8, mac, 3);
	address.s6_addr[8] ^= 0x02;
	address.s6_addr[11] = 0xff;
	address.s6_addr[12] = 0xfe;
	memcpy(address.s6_addr + 13, mac + 3, 3);
	return address;
}
