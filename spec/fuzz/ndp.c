/* libFuzzer: the reader of neighbour solicitations and advertisements. Each input is tried as it is and with a checksum
 * made right, which random bytes hardly ever have. What is accepted reads back the same from its own frame. */
#include "../../core/ndp.c"

#include <stdlib.h>

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_answer(const struct mlb_ndp *ns)
{
	static const uint8_t mac[MLB_MAC_SIZE] = { 2, 0, 0, 0, 0, 1 };
	struct mlb_frame frame;
	struct mlb_ndp na;

	if (IN6_IS_ADDR_UNSPECIFIED(&ns->target) || IN6_IS_ADDR_LOOPBACK(&ns->target))
		return;
	mlb_ndp_answer(ns, mac, &frame);
	check(mlb_ndp_decode(frame.bytes, frame.length, &na, NULL) == 0);
	check(na.type == MLB_NDP_ADVERTISEMENT && na.is_override && na.has_link_address);
	check(na.is_solicited == !IN6_IS_ADDR_UNSPECIFIED(&ns->source));
	check(memcmp(&na.target, &ns->target, sizeof(na.target)) == 0);
}

static void try(const uint8_t *data, size_t size)
{
	struct mlb_frame frame;
	struct mlb_ndp ndp, again;
	const char *why = NULL;

	if (mlb_ndp_decode(data, size, &ndp, &why) < 0) {
		check(why != NULL);
		return;
	}
	mlb_ndp_encode(&ndp, &frame);
	check(mlb_ndp_decode(frame.bytes, frame.length, &again, NULL) == 0);
	check(memcmp(&ndp, &again, sizeof(ndp)) == 0);
	if (ndp.type == MLB_NDP_SOLICITATION)
		check_answer(&ndp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t copy[2048];
	size_t payload;
	uint16_t checksum;

	try(data, size);
	if (size < AT_OPTIONS || size > sizeof(copy))
		return 0;
	memcpy(copy, data, size);
	payload = mlb_get16(copy + AT_PAYLOAD_LENGTH);
	if (payload > size - AT_ICMP)
		return 0;
	memset(copy + AT_CHECKSUM, 0, 2);
	checksum = (uint16_t)~icmp_sum(copy, payload);
	copy[AT_CHECKSUM] = (uint8_t)(checksum >> 8);
	copy[AT_CHECKSUM + 1] = (uint8_t)checksum;
	try(copy, size);
	return 0;
}
