/* libFuzzer: what the pulse thread makes of a frame. Whatever comes, it answers only for what is held, never for what is
 * only probed, never to a group but for all nodes, and never calls its own MAC or a node's of ours a stranger's. */
#include "../../core/pulse_answer.c"

#include <arpa/inet.h>
#include <stdlib.h>

static const uint8_t mac[MLB_MAC_SIZE] = { 2, 0, 0, 0, 0, 0x0a };
static const uint8_t own_macs[1][MLB_MAC_SIZE] = { { 2, 0, 0, 0, 0, 0x0c } };
static const uint8_t all_nodes_mac[MLB_MAC_SIZE] = { 0x33, 0x33, 0, 0, 0, 1 };

static struct mlb_pulse_table table;
static struct mlb_pulse_link link_row = { .index = 3 };

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void use(const char *text, uint32_t index, uint32_t how)
{
	struct in6_addr address;

	check(inet_pton(AF_INET6, text, &address) == 1);
	check(mlb_pulse_set_use(&table, &address, index, how) == 0);
}

static void set_up(void)
{
	memcpy(link_row.mac, mac, MLB_MAC_SIZE);
	use("::ffff:10.77.0.9", 3, MLB_PULSE_HELD);
	use("::ffff:10.77.0.8", 3, MLB_PULSE_PROBED);
	use("::ffff:10.77.0.7", 4, MLB_PULSE_HELD);
	use("fd77::9", 3, MLB_PULSE_HELD);
	use("fd77::8", 3, MLB_PULSE_PROBED);
	use("fd77::7", 4, MLB_PULSE_HELD);
	check(mlb_pulse_replace_own_macs(&table, own_macs, 1) == 0);
}

static bool is_held(const struct mlb_frame *answer)
{
	struct mlb_arp arp;
	struct mlb_ndp ndp;

	if (mlb_arp_decode(answer->bytes, answer->length, &arp, NULL) == 0)
		return mlb_pulse_use_ipv4(&table, arp.sender_ip, 3) & MLB_PULSE_HELD;
	return mlb_ndp_decode(answer->bytes, answer->length, &ndp, NULL) == 0 &&
	       mlb_pulse_use(&table, &ndp.target, 3) & MLB_PULSE_HELD;
}

static void check_verdict(const struct mlb_pulse_verdict *verdict)
{
	if (verdict->has_answer) {
		check(is_held(&verdict->answer));
		check(memcmp(verdict->answer.bytes + MLB_MAC_SIZE, mac, MLB_MAC_SIZE) == 0);
		check(mlb_mac_is_station(verdict->answer.bytes) ||
		      memcmp(verdict->answer.bytes, all_nodes_mac, MLB_MAC_SIZE) == 0);
	}
	if (verdict->has_conflict) {
		check(!verdict->has_answer);
		check(memcmp(verdict->conflict.mac, mac, MLB_MAC_SIZE) != 0);
		check(!mlb_pulse_is_own_mac(&table, verdict->conflict.mac));
		check(mlb_pulse_use(&table, &verdict->conflict.address, 3) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_pulse_verdict verdict;

	if (table.nentries == 0)
		set_up();
	mlb_pulse_judge_arp(&table, &link_row, data, size, &verdict);
	check_verdict(&verdict);
	mlb_pulse_judge_ndp(&table, &link_row, data, size, &verdict);
	check_verdict(&verdict);
	return 0;
}
