#include "ndp.h"

#include <errno.h>
#include <netinet/if_ether.h>
#include <netinet/icmp6.h>
#include <string.h>

#include "octets.h"

/* Offsets in the frame: Ethernet, the IPv6 header (RFC 8200 section 3), the ICMPv6 message (RFC 4861 section 4.3). */
enum {
	AT_DESTINATION_MAC = 0,
	AT_SOURCE_MAC = 6,
	AT_TYPE = 12,
	AT_VERSION = 14,
	AT_PAYLOAD_LENGTH = 18,
	AT_NEXT_HEADER = 20,
	AT_HOP_LIMIT = 21,
	AT_SOURCE = 22,
	AT_DESTINATION = 38,
	AT_ICMP = 54,
	AT_ICMP_CODE = 55,
	AT_CHECKSUM = 56,
	AT_FLAGS = 58,
	AT_TARGET = 62,
	AT_OPTIONS = 78,
	MESSAGE_SIZE = AT_OPTIONS - AT_ICMP,
};

enum {	/* RFC 4861 section 4.4, first byte of the flags */
	FLAG_ROUTER = 0x80,
	FLAG_SOLICITED = 0x40,
	FLAG_OVERRIDE = 0x20,
};

static const uint8_t solicited_node_prefix[13] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
static const struct in6_addr all_nodes = { { { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } } };

static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += mlb_get16(bytes + i);
	if (length % 2)
		sum += (uint32_t)bytes[length - 1] << 8;
	return sum;
}

/* The sum of pseudo header and message (RFC 8200 section 8.1), folded: 0xffff over a message whose checksum is right.
 * A payload has at most 65,535 bytes, so 32 bits cannot overflow. */
static uint16_t icmp_sum(const uint8_t *frame, size_t payload)
{
	uint32_t sum = sum_words(0, frame + AT_SOURCE, 2 * sizeof(struct in6_addr));

	sum += (uint32_t)payload + IPPROTO_ICMPV6;
	sum = sum_words(sum, frame + AT_ICMP, payload);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool is_solicited_node(const struct in6_addr *address)
{
	return memcmp(address, solicited_node_prefix, sizeof(solicited_node_prefix)) == 0;
}

static const char *find_header_fault(const uint8_t *bytes, size_t length)
{
	size_t payload;

	if (length < AT_OPTIONS)
		return "frame is shorter than 78 bytes";
	if (mlb_get16(bytes + AT_TYPE) != ETHERTYPE_IPV6)
		return "EtherType is not 0x86dd";
	if (bytes[AT_VERSION] >> 4 != 6)
		return "IP version is not 6";
	payload = mlb_get16(bytes + AT_PAYLOAD_LENGTH);
	if (payload > length - AT_ICMP)
		return "payload length is more than the frame holds";
	if (payload < MESSAGE_SIZE)
		return "ICMP length is less than 24";			/* RFC 4861 section 7.1.1 */
	if (bytes[AT_NEXT_HEADER] != IPPROTO_ICMPV6)
		return "next header is not 58, ICMPv6";
	if (bytes[AT_HOP_LIMIT] != 255)
		return "hop limit is not 255: forwarded by a router";	/* RFC 4861 section 7.1.1 */
	if (bytes[AT_ICMP] != MLB_NDP_SOLICITATION && bytes[AT_ICMP] != MLB_NDP_ADVERTISEMENT)
		return "ICMP type is neither 135, solicitation, nor 136, advertisement";
	if (bytes[AT_ICMP_CODE] != 0)
		return "ICMP code is not 0";				/* RFC 4861 section 7.1.1 */
	if (icmp_sum(bytes, payload) != 0xffff)
		return "ICMP checksum is wrong";			/* RFC 4861 section 7.1.1 */
	return NULL;
}

/* Walk the options; take the one link-layer address option that belongs to the message's type. */
static const char *read_options(const uint8_t *bytes, size_t end, struct mlb_ndp *ndp)
{
	uint8_t wanted = ndp->type == MLB_NDP_SOLICITATION ? ND_OPT_SOURCE_LINKADDR : ND_OPT_TARGET_LINKADDR;

	for (size_t at = AT_OPTIONS; at < end;) {
		size_t size;

		if (end - at < 2)
			return "an option is cut";
		size = (size_t)bytes[at + 1] * 8;
		if (size == 0)
			return "an option has length zero";		/* RFC 4861 section 4.6 */
		if (size > end - at)
			return "an option is longer than the message";
		if (bytes[at] == wanted && !ndp->has_link_address) {
			if (size != 8)
				return "link-layer address option is not 8 bytes long";	/* RFC 2464 section 6 */
			if (!mlb_mac_is_station(bytes + at + 2))
				return "link-layer address option holds zero or a group";
			memcpy(ndp->link_address, bytes + at + 2, MLB_MAC_SIZE);
			ndp->has_link_address = true;
		}
		at += size;	/* RFC 4861 section 4.6: options that are not recognised are skipped */
	}
	return NULL;
}

static const char *find_message_fault(const struct mlb_ndp *ndp)
{
	if (!mlb_mac_is_station(ndp->source_mac))
		return "Ethernet source is zero or a group";
	if (IN6_IS_ADDR_MULTICAST(&ndp->target))
		return "target is a multicast address";			/* RFC 4861 sections 7.1.1 and 7.1.2 */
	if (IN6_IS_ADDR_MULTICAST(&ndp->source) || IN6_IS_ADDR_LOOPBACK(&ndp->source))
		return "source is a multicast or the loopback address";	/* RFC 4291 sections 2.7, 2.5.3 */
	if (ndp->type == MLB_NDP_ADVERTISEMENT) {
		if (IN6_IS_ADDR_UNSPECIFIED(&ndp->source))
			return "source of an advertisement is unspecified";	/* RFC 4861 section 4.4 */
		if (ndp->is_solicited && IN6_IS_ADDR_MULTICAST(&ndp->destination))
			return "a multicast advertisement says it was solicited";	/* RFC 4861 section 7.1.2 */
	} else if (IN6_IS_ADDR_UNSPECIFIED(&ndp->source)) {
		if (!is_solicited_node(&ndp->destination))
			return "source is unspecified and destination no solicited-node group";	/* section 7.1.1 */
		if (ndp->has_link_address)
			return "source is unspecified, yet there is a source link-layer address";	/* section 7.1.1 */
	}
	return NULL;
}

static const char *decode(const uint8_t *bytes, size_t length, struct mlb_ndp *ndp)
{
	const char *fault = find_header_fault(bytes, length);

	if (fault)
		return fault;
	memcpy(ndp->destination_mac, bytes + AT_DESTINATION_MAC, MLB_MAC_SIZE);
	memcpy(ndp->source_mac, bytes + AT_SOURCE_MAC, MLB_MAC_SIZE);
	memcpy(&ndp->source, bytes + AT_SOURCE, sizeof(ndp->source));
	memcpy(&ndp->destination, bytes + AT_DESTINATION, sizeof(ndp->destination));
	ndp->type = (enum mlb_ndp_type)bytes[AT_ICMP];
	memcpy(&ndp->target, bytes + AT_TARGET, sizeof(ndp->target));
	if (ndp->type == MLB_NDP_ADVERTISEMENT) {
		ndp->is_router = bytes[AT_FLAGS] & FLAG_ROUTER;
		ndp->is_solicited = bytes[AT_FLAGS] & FLAG_SOLICITED;
		ndp->is_override = bytes[AT_FLAGS] & FLAG_OVERRIDE;
	}
	fault = read_options(bytes, AT_ICMP + (size_t)mlb_get16(bytes + AT_PAYLOAD_LENGTH), ndp);
	return fault ? fault : find_message_fault(ndp);
}

int mlb_ndp_decode(const uint8_t *bytes, size_t length, struct mlb_ndp *ret_ndp, const char **ret_why)
{
	struct mlb_ndp ndp = { .has_link_address = false };
	const char *fault = decode(bytes, length, &ndp);

	if (fault) {
		if (ret_why)
			*ret_why = fault;
		return -EBADMSG;
	}
	*ret_ndp = ndp;
	return 0;
}

void mlb_ndp_encode(const struct mlb_ndp *ndp, struct mlb_frame *ret_frame)
{
	static const uint8_t version[4] = { 6 << 4 }, zero[3];
	uint16_t payload = MESSAGE_SIZE + (ndp->has_link_address ? 8 : 0);
	uint16_t checksum;

	mlb_ether_start(ret_frame, ndp->destination_mac, ndp->source_mac, ETHERTYPE_IPV6);
	mlb_frame_put(ret_frame, version, sizeof(version));
	mlb_frame_put16(ret_frame, payload);
	mlb_frame_put8(ret_frame, IPPROTO_ICMPV6);
	mlb_frame_put8(ret_frame, 255);		/* RFC 4861 section 4.3: proves that no router forwarded it */
	mlb_frame_put(ret_frame, &ndp->source, sizeof(ndp->source));
	mlb_frame_put(ret_frame, &ndp->destination, sizeof(ndp->destination));
	mlb_frame_put8(ret_frame, (uint8_t)ndp->type);
	mlb_frame_put8(ret_frame, 0);
	mlb_frame_put16(ret_frame, 0);		/* the checksum, counted as zero while it is computed */
	mlb_frame_put8(ret_frame, (uint8_t)((ndp->is_router ? FLAG_ROUTER : 0) |
					    (ndp->is_solicited ? FLAG_SOLICITED : 0) |
					    (ndp->is_override ? FLAG_OVERRIDE : 0)));
	mlb_frame_put(ret_frame, zero, sizeof(zero));
	mlb_frame_put(ret_frame, &ndp->target, sizeof(ndp->target));
	if (ndp->has_link_address) {
		mlb_frame_put8(ret_frame, ndp->type == MLB_NDP_SOLICITATION ? ND_OPT_SOURCE_LINKADDR :
									      ND_OPT_TARGET_LINKADDR);
		mlb_frame_put8(ret_frame, 1);	/* in units of 8 bytes */
		mlb_frame_put(ret_frame, ndp->link_address, MLB_MAC_SIZE);
	}
	checksum = (uint16_t)~icmp_sum(ret_frame->bytes, payload);
	ret_frame->bytes[AT_CHECKSUM] = (uint8_t)(checksum >> 8);
	ret_frame->bytes[AT_CHECKSUM + 1] = (uint8_t)checksum;
}

void mlb_ndp_solicited_node(const struct in6_addr *address, struct in6_addr *ret_group)
{
	memcpy(ret_group->s6_addr, solicited_node_prefix, sizeof(solicited_node_prefix));
	memcpy(ret_group->s6_addr + 13, address->s6_addr + 13, 3);
}

void mlb_ndp_group_mac(const struct in6_addr *group, uint8_t ret_mac[MLB_MAC_SIZE])
{
	ret_mac[0] = 0x33;
	ret_mac[1] = 0x33;
	memcpy(ret_mac + 2, group->s6_addr + 12, 4);
}

/* An advertisement for `target` by `mac`, addressed to all nodes and not solicited. */
static void start_advertisement(struct mlb_ndp *na, const uint8_t mac[MLB_MAC_SIZE], const struct in6_addr *target)
{
	*na = (struct mlb_ndp){
		.type = MLB_NDP_ADVERTISEMENT,
		.source = *target,
		.destination = all_nodes,
		.target = *target,
		.is_override = true,
		.has_link_address = true,
	};
	memcpy(na->source_mac, mac, MLB_MAC_SIZE);
	memcpy(na->link_address, mac, MLB_MAC_SIZE);
	mlb_ndp_group_mac(&all_nodes, na->destination_mac);
}

void mlb_ndp_answer(const struct mlb_ndp *solicitation, const uint8_t mac[MLB_MAC_SIZE], struct mlb_frame *ret_frame)
{
	struct mlb_ndp na;

	start_advertisement(&na, mac, &solicitation->target);
	if (!IN6_IS_ADDR_UNSPECIFIED(&solicitation->source)) {
		na.destination = solicitation->source;
		na.is_solicited = true;
		/* Without the option the asker's MAC would have to be resolved first (RFC 4861 section 7.2.4); the
		 * frame came from a neighbour, so its Ethernet source is that MAC already. */
		memcpy(na.destination_mac, solicitation->has_link_address ? solicitation->link_address :
									    solicitation->source_mac, MLB_MAC_SIZE);
	}
	mlb_ndp_encode(&na, ret_frame);
}

void mlb_ndp_probe(const uint8_t mac[MLB_MAC_SIZE], const struct in6_addr *address, struct mlb_frame *ret_frame)
{
	struct mlb_ndp ns = { .type = MLB_NDP_SOLICITATION, .target = *address };	/* from the unspecified address */

	mlb_ndp_solicited_node(address, &ns.destination);
	mlb_ndp_group_mac(&ns.destination, ns.destination_mac);
	memcpy(ns.source_mac, mac, MLB_MAC_SIZE);
	mlb_ndp_encode(&ns, ret_frame);
}

void mlb_ndp_unsolicited(const uint8_t mac[MLB_MAC_SIZE], const struct in6_addr *address, struct mlb_frame *ret_frame)
{
	struct mlb_ndp na;

	start_advertisement(&na, mac, address);
	mlb_ndp_encode(&na, ret_frame);
}
