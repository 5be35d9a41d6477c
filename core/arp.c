#include "arp.h"

#include <errno.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <string.h>

#include "octets.h"

/* Offsets in the frame, RFC 826 "Packet format" behind an Ethernet header. */
enum {
	AT_DESTINATION = 0,
	AT_SOURCE = 6,
	AT_TYPE = 12,
	AT_HARDWARE = 14,
	AT_PROTOCOL = 16,
	AT_HARDWARE_SIZE = 18,
	AT_PROTOCOL_SIZE = 19,
	AT_OPERATION = 20,
	AT_SENDER_MAC = 22,
	AT_SENDER_IP = 28,
	AT_TARGET_MAC = 32,
	AT_TARGET_IP = 38,
};

static const char *find_fault(const uint8_t *bytes, size_t length)
{
	uint16_t operation;

	if (length < MLB_ARP_FRAME)
		return "frame is shorter than 42 bytes";
	if (mlb_get16(bytes + AT_TYPE) != ETHERTYPE_ARP)
		return "EtherType is not 0x0806";
	if (mlb_get16(bytes + AT_HARDWARE) != ARPHRD_ETHER)
		return "hardware type is not 1, Ethernet";		/* RFC 826: ar$hrd */
	if (mlb_get16(bytes + AT_PROTOCOL) != ETHERTYPE_IP)
		return "protocol type is not 0x0800, IPv4";		/* ar$pro */
	if (bytes[AT_HARDWARE_SIZE] != MLB_MAC_SIZE)
		return "hardware address length is not 6";		/* ar$hln */
	if (bytes[AT_PROTOCOL_SIZE] != sizeof(struct in_addr))
		return "protocol address length is not 4";		/* ar$pln */
	operation = mlb_get16(bytes + AT_OPERATION);
	if (operation != MLB_ARP_REQUEST && operation != MLB_ARP_REPLY)
		return "operation is neither 1, request, nor 2, reply";	/* ar$op */
	if (!mlb_mac_is_station(bytes + AT_SENDER_MAC))
		return "sender hardware address is zero or a group";	/* an answer to it would go to many */
	if (bytes[AT_SENDER_IP] >= 224)
		return "sender protocol address is multicast, reserved or broadcast";	/* RFC 1122 3.2.1.3 */
	return NULL;
}

int mlb_arp_decode(const uint8_t *bytes, size_t length, struct mlb_arp *ret_arp, const char **ret_why)
{
	const char *fault = find_fault(bytes, length);

	if (fault) {
		if (ret_why)
			*ret_why = fault;
		return -EBADMSG;
	}
	memcpy(ret_arp->destination, bytes + AT_DESTINATION, MLB_MAC_SIZE);
	memcpy(ret_arp->source, bytes + AT_SOURCE, MLB_MAC_SIZE);
	ret_arp->operation = (enum mlb_arp_operation)mlb_get16(bytes + AT_OPERATION);
	memcpy(ret_arp->sender_mac, bytes + AT_SENDER_MAC, MLB_MAC_SIZE);
	memcpy(&ret_arp->sender_ip, bytes + AT_SENDER_IP, sizeof(ret_arp->sender_ip));
	memcpy(ret_arp->target_mac, bytes + AT_TARGET_MAC, MLB_MAC_SIZE);
	memcpy(&ret_arp->target_ip, bytes + AT_TARGET_IP, sizeof(ret_arp->target_ip));
	return 0;
}

void mlb_arp_encode(const struct mlb_arp *arp, struct mlb_frame *ret_frame)
{
	mlb_ether_start(ret_frame, arp->destination, arp->source, ETHERTYPE_ARP);
	mlb_frame_put16(ret_frame, ARPHRD_ETHER);
	mlb_frame_put16(ret_frame, ETHERTYPE_IP);
	mlb_frame_put8(ret_frame, MLB_MAC_SIZE);
	mlb_frame_put8(ret_frame, sizeof(struct in_addr));
	mlb_frame_put16(ret_frame, (uint16_t)arp->operation);
	mlb_frame_put(ret_frame, arp->sender_mac, MLB_MAC_SIZE);
	mlb_frame_put(ret_frame, &arp->sender_ip, sizeof(arp->sender_ip));
	mlb_frame_put(ret_frame, arp->target_mac, MLB_MAC_SIZE);
	mlb_frame_put(ret_frame, &arp->target_ip, sizeof(arp->target_ip));
}

void mlb_arp_answer(const struct mlb_arp *request, const uint8_t mac[MLB_MAC_SIZE], struct mlb_frame *ret_frame)
{
	struct mlb_arp reply = { .operation = MLB_ARP_REPLY };

	/* RFC 826: swap the fields, put our own address in the sender fields, send to the (new) target. */
	memcpy(reply.destination, request->sender_mac, MLB_MAC_SIZE);
	memcpy(reply.source, mac, MLB_MAC_SIZE);
	memcpy(reply.sender_mac, mac, MLB_MAC_SIZE);
	reply.sender_ip = request->target_ip;
	memcpy(reply.target_mac, request->sender_mac, MLB_MAC_SIZE);
	reply.target_ip = request->sender_ip;
	mlb_arp_encode(&reply, ret_frame);
}

void mlb_arp_probe(const uint8_t mac[MLB_MAC_SIZE], struct in_addr ip, struct mlb_frame *ret_frame)
{
	/* RFC 5227 section 2.1.1: the sender IP is all zero, so that no cache learns from a probe; target MAC zero. */
	struct mlb_arp probe = { .operation = MLB_ARP_REQUEST, .target_ip = ip };

	memcpy(probe.destination, mlb_mac_broadcast, MLB_MAC_SIZE);
	memcpy(probe.source, mac, MLB_MAC_SIZE);
	memcpy(probe.sender_mac, mac, MLB_MAC_SIZE);
	mlb_arp_encode(&probe, ret_frame);
}

void mlb_arp_gratuitous(enum mlb_arp_operation operation, const uint8_t mac[MLB_MAC_SIZE], struct in_addr ip,
			struct mlb_frame *ret_frame)
{
	struct mlb_arp gratuitous = { .operation = operation, .sender_ip = ip, .target_ip = ip };

	memcpy(gratuitous.destination, mlb_mac_broadcast, MLB_MAC_SIZE);
	memcpy(gratuitous.source, mac, MLB_MAC_SIZE);
	memcpy(gratuitous.sender_mac, mac, MLB_MAC_SIZE);
	/* RFC 5227 section 2.3: an announcement is a probe but for the sender IP, so the target MAC stays zero;
	 * RFC 5944 section 4.6: in the reply it is the MAC that caches are to hold. */
	if (operation == MLB_ARP_REPLY)
		memcpy(gratuitous.target_mac, mac, MLB_MAC_SIZE);
	mlb_arp_encode(&gratuitous, ret_frame);
}
