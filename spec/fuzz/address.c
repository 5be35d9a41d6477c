/* libFuzzer: the readers of addresses and of pool items. What they accept must read back the same from its own text. */
#include "../../core/address.c"

#include <stdlib.h>

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const struct mlb_address *address)
{
	char text[MLB_ADDRESS_TEXT], again[MLB_ADDRESS_TEXT];
	unsigned char bytes[16], judged[16];
	struct mlb_address parsed;

	mlb_address_format(address, text);
	mlb_address_to_bytes(address, bytes);
	check(inet_pton(address->family == 4 ? AF_INET : AF_INET6, text, judged) == 1);
	check(memcmp(bytes, judged, address->family == 4 ? 4 : 16) == 0);
	if (is_mapped(address))		/* an end of a block may be one; its text is refused */
		return;
	check(mlb_address_parse(text, strlen(text), &parsed, NULL) == 0);
	check(mlb_address_compare(address, &parsed) == 0);
	mlb_address_format(&parsed, again);
	check(strcmp(text, again) == 0);
}

static void check_item(const struct mlb_address_item *item)
{
	struct mlb_address first;

	check(item->first.family == item->last.family);
	check(mlb_address_compare(&item->first, &item->last) <= 0);
	check_text(&item->first);
	check_text(&item->last);
	if (item->form != MLB_FORM_CIDR)
		return;
	first = mlb_address_mask(&item->last, item->prefix);
	check(mlb_address_compare(&first, &item->first) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_address_item item;
	struct mlb_address address;
	const char *why = NULL;
	char message[256];

	if (mlb_address_parse((const char *)data, size, &address, &why) == 0)
		check_text(&address);
	else
		check(why != NULL);
	message[0] = '\0';
	if (mlb_address_parse_item((const char *)data, size, &item, message, sizeof(message)) == 0)
		check_item(&item);
	else
		check(message[0] == '"' && strlen(message) < sizeof(message));
	return 0;
}
