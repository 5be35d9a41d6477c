/* libFuzzer: reading DHCPv4 messages and the frames they come in. What is accepted lies inside its input; what was read can
 * be written and is read the same again. */
#include "../../core/dhcp.c"

#include <stdlib.h>

#include "../../core/datagram.h"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool is_same(const struct mlb_dhcp_bytes *a, const struct mlb_dhcp_bytes *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

static void check_again(const struct mlb_dhcp_message *message)
{
	static uint8_t bytes[8192];
	struct mlb_dhcp_message again;
	const char *why = NULL;
	size_t length;

	check(mlb_dhcp_encode(message, bytes, sizeof(bytes), &length) == 0 && length >= MLB_DHCP_MESSAGE_LEAST);
	check(mlb_dhcp_decode(bytes, length, &again, &why) == 0);
	check(again.type == message->type && again.xid == message->xid && again.yiaddr == message->yiaddr);
	check(again.server == message->server && again.mask == message->mask && again.router == message->router);
	check(again.has_lease == message->has_lease && again.lease_s == message->lease_s);
	check(again.has_t1 == message->has_t1 && again.t1_s == message->t1_s);
	check(is_same(&again.client_id, &message->client_id) && is_same(&again.fqdn, &message->fqdn));
	check(is_same(&again.text, &message->text) && is_same(&again.parameters, &message->parameters));
}

static void check_message(const uint8_t *data, size_t size)
{
	struct mlb_dhcp_message message;
	char name[256];
	const char *why = NULL;

	if (mlb_dhcp_decode(data, size, &message, &why) < 0) {
		check(why != NULL);
		return;
	}
	check(size >= MLB_DHCP_FIXED && mlb_dhcp_type_name(message.type) != NULL);
	check(mlb_dhcp_prefix(message.mask) >= 0 && mlb_dhcp_prefix(message.mask) <= 32);
	if (mlb_dhcp_get_fqdn(&message.fqdn, name))
		check(strlen(name) > 0 && strlen(name) <= 253);
	check_again(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t frame[4096];
	struct mlb_datagram datagram;
	const char *why = NULL;

	check_message(data, size);
	if (mlb_datagram_unwrap(data, size, &datagram, &why) < 0) {
		check(why != NULL);
	} else {
		check(datagram.payload >= data && datagram.payload + datagram.length <= data + size);
		check_message(datagram.payload, datagram.length);
	}
	/* With its checksums made right, more gets through. */
	if (size < sizeof(frame)) {
		memcpy(frame, data, size);
		mlb_datagram_complete(frame, size);
		if (mlb_datagram_unwrap(frame, size, &datagram, NULL) == 0)
			check_message(datagram.payload, datagram.length);
	}
	return 0;
}
