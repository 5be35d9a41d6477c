#include "ether.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const uint8_t mlb_mac_broadcast[MLB_MAC_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool mlb_mac_parse(const char *text, uint8_t ret_mac[MLB_MAC_SIZE])
{
	uint8_t mac[MLB_MAC_SIZE];

	if (strlen(text) != MLB_MAC_TEXT - 1)
		return false;
	for (int i = 0; i < MLB_MAC_SIZE; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < MLB_MAC_SIZE - 1 && text[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return true;
}

void mlb_mac_format(const uint8_t mac[MLB_MAC_SIZE], char ret_text[MLB_MAC_TEXT])
{
	snprintf(ret_text, MLB_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x",
		 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

bool mlb_mac_is_station(const uint8_t mac[MLB_MAC_SIZE])
{
	static const uint8_t zero[MLB_MAC_SIZE];

	return !(mac[0] & 1) && memcmp(mac, zero, sizeof(zero)) != 0;
}

void mlb_frame_put(struct mlb_frame *frame, const void *bytes, size_t length)
{
	assert(frame->length + length <= sizeof(frame->bytes));
	memcpy(frame->bytes + frame->length, bytes, length);
	frame->length += length;
}

void mlb_frame_put8(struct mlb_frame *frame, uint8_t value)
{
	mlb_frame_put(frame, &value, 1);
}

void mlb_frame_put16(struct mlb_frame *frame, uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	mlb_frame_put(frame, bytes, sizeof(bytes));
}

void mlb_ether_start(struct mlb_frame *frame, const uint8_t destination[MLB_MAC_SIZE],
		     const uint8_t source[MLB_MAC_SIZE], uint16_t type)
{
	frame->length = 0;
	mlb_frame_put(frame, destination, MLB_MAC_SIZE);
	mlb_frame_put(frame, source, MLB_MAC_SIZE);
	mlb_frame_put16(frame, type);
}
