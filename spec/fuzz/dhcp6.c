/* libFuzzer: reading DHCPv6 messages and the frames they come in. What is accepted lies inside its input; what was read can
 * be written and is read the same again. */
#include "../../core/dhcp6.c"

#include <stdlib.h>

#include "../../core/datagram6.h"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_again(const struct mlb_dhcp6_message *message)
{
	static uint8_t bytes[4096];
	struct mlb_dhcp6_message again;
	size_t length;

	check(mlb_dhcp6_encode(message, bytes, sizeof(bytes), &length) == 0);
	check(mlb_dhcp6_decode(bytes, length, NULL, &again, NULL) == 0);
	check(again.type == message->type && again.xid == message->xid && again.has_ia == message->has_ia);
	check(again.t1_s == message->t1_s && again.naddresses == message->naddresses);
	check(memcmp(again.addresses, message->addresses, sizeof(again.addresses)) == 0);
	check(again.status == message->status && again.ia_status == message->ia_status);
	check(again.server.length == message->server.length);
	check(memcmp(again.server.bytes, message->server.bytes, again.server.length) == 0);
}

static void check_message(const uint8_t *data, size_t size)
{
	const uint32_t iaid = 7;
	struct mlb_dhcp6_message message;
	const char *why = NULL;

	if (mlb_dhcp6_decode(data, size, NULL, &message, &why) < 0) {
		check(why != NULL);
		return;
	}
	check(mlb_dhcp6_type_name(message.type) != NULL && message.xid <= 0xffffff);
	check(message.naddresses <= MLB_DHCP6_ADDRESSES && (message.has_ia || message.naddresses == 0));
	check(message.t2_s == 0 || message.t1_s <= message.t2_s);
	for (size_t i = 0; i < message.naddresses; i++)
		check(message.addresses[i].preferred_s <= message.addresses[i].valid_s);
	check_again(&message);
	if (mlb_dhcp6_decode(data, size, &iaid, &message, NULL) == 0)
		check(!message.has_ia || message.iaid == iaid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[4096];
	struct mlb_datagram6 datagram;
	const char *why = NULL;

	check_message(data, size);
	if (mlb_datagram6_unwrap(data, size, &datagram, &why) < 0)
		check(why != NULL);
	else
		check(datagram.payload >= data && datagram.payload + datagram.length <= data + size);
	/* With its checksum made right, more gets through. */
	if (size < sizeof(frame)) {
		memcpy(frame, data, size);
		mlb_datagram6_complete(frame, size);
		if (mlb_datagram6_unwrap(frame, size, &datagram, NULL) == 0)
			check_message(datagram.payload, datagram.length);
	}
	return 0;
}
