#include "pcapng.h"

#include <string.h>

#define SECTION 0x0A0D0D0Au	/* section 4.1 */
#define INTERFACE 1u		/* section 4.2 */
#define PACKET 6u		/* section 4.3 */
#define MAGIC 0x1A2B3C4Du
#define LINKTYPE_ETHERNET 1
#define IF_NAME 2
#define EPB_FLAGS 2

static size_t put(uint8_t *block, size_t at, const void *value, size_t size)
{
	memcpy(block + at, value, size);
	return at + size;
}

static size_t put16(uint8_t *block, size_t at, uint16_t value)
{
	return put(block, at, &value, sizeof(value));
}

static size_t put32(uint8_t *block, size_t at, uint32_t value)
{
	return put(block, at, &value, sizeof(value));
}

/* Bytes, then zeros up to a multiple of four. */
static size_t put_padded(uint8_t *block, size_t at, const void *bytes, size_t size)
{
	size_t end = (at + size + 3) & ~(size_t)3;

	at = put(block, at, bytes, size);
	memset(block + at, 0, end - at);
	return end;
}

static size_t begin(uint8_t *block, uint32_t type)
{
	return put32(block, put32(block, 0, type), 0);
}

/* The length stands before and behind. */
static size_t finish(uint8_t *block, size_t at)
{
	uint32_t length = (uint32_t)(at + sizeof(length));

	put32(block, 4, length);
	return put32(block, at, length);
}

size_t mlb_pcapng_section(uint8_t *ret_block)
{
	size_t at = begin(ret_block, SECTION);
	int64_t unknown_length = -1;

	at = put32(ret_block, at, MAGIC);
	at = put16(ret_block, at, 1);	/* version 1.0 */
	at = put16(ret_block, at, 0);
	at = put(ret_block, at, &unknown_length, sizeof(unknown_length));
	return finish(ret_block, at);
}

size_t mlb_pcapng_interface(uint8_t *ret_block, const char *name)
{
	size_t at = begin(ret_block, INTERFACE), length = strnlen(name, MLB_PCAPNG_NAME);

	at = put16(ret_block, at, LINKTYPE_ETHERNET);
	at = put16(ret_block, at, 0);
	at = put32(ret_block, at, 0);	/* no limit of a packet's size */
	at = put16(ret_block, at, IF_NAME);
	at = put16(ret_block, at, (uint16_t)length);
	at = put_padded(ret_block, at, name, length);
	at = put32(ret_block, at, 0);
	return finish(ret_block, at);	/* times are in microseconds unless an option says otherwise */
}

size_t mlb_pcapng_packet(uint8_t *ret_block, uint32_t interface, bool is_outbound, uint64_t at_us, const uint8_t *bytes,
			 size_t kept, size_t length)
{
	size_t at = begin(ret_block, PACKET);

	at = put32(ret_block, at, interface);
	at = put32(ret_block, at, (uint32_t)(at_us >> 32));
	at = put32(ret_block, at, (uint32_t)at_us);
	at = put32(ret_block, at, (uint32_t)kept);
	at = put32(ret_block, at, (uint32_t)length);
	at = put_padded(ret_block, at, bytes, kept);
	at = put16(ret_block, at, EPB_FLAGS);
	at = put16(ret_block, at, 4);
	at = put32(ret_block, at, is_outbound ? 2 : 1);
	at = put32(ret_block, at, 0);
	return finish(ret_block, at);
}
