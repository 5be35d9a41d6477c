/* libFuzzer: the ARP reader. What it accepts reads back the same from its own frame, and its answer is one it accepts. */
#include "../../core/arp.c"

#include <stdlib.h>

static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t mac[MLB_MAC_SIZE] = { 2, 0, 0, 0, 0, 1 };
	struct mlb_frame frame;
	struct mlb_arp arp, again;
	const char *why = NULL;

	if (mlb_arp_decode(data, size, &arp, &why) < 0) {
		check(why != NULL);
		return 0;
	}
	mlb_arp_encode(&arp, &frame);
	check(frame.length == MLB_ARP_FRAME && memcmp(frame.bytes, data, MLB_ARP_FRAME) == 0);
	mlb_arp_answer(&arp, mac, &frame);
	if (arp.target_ip.s_addr != 0 && (ntohl(arp.target_ip.s_addr) >> 24) < 224) {
		check(mlb_arp_decode(frame.bytes, frame.length, &again, NULL) == 0);
		check(again.operation == MLB_ARP_REPLY && again.sender_ip.s_addr == arp.target_ip.s_addr);
		check(memcmp(again.destination, arp.sender_mac, MLB_MAC_SIZE) == 0);
	}
	return 0;
}
