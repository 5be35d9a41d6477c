/* Integers in network order, octet by octet: no casts into buffers. Callers know their sizes. */
#ifndef MLB_OCTETS_H
#define MLB_OCTETS_H

#include <stdint.h>

static inline uint16_t mlb_get16(const uint8_t *bytes)
{
	return (uint16_t)((unsigned)bytes[0] << 8 | bytes[1]);
}

static inline uint32_t mlb_get32(const uint8_t *bytes)
{
	return (uint32_t)mlb_get16(bytes) << 16 | mlb_get16(bytes + 2);
}

static inline uint64_t mlb_get64(const uint8_t *bytes)
{
	return (uint64_t)mlb_get32(bytes) << 32 | mlb_get32(bytes + 4);
}

static inline void mlb_put16(uint8_t *ret_bytes, uint16_t value)
{
	ret_bytes[0] = (uint8_t)(value >> 8);
	ret_bytes[1] = (uint8_t)value;
}

static inline void mlb_put32(uint8_t *ret_bytes, uint32_t value)
{
	mlb_put16(ret_bytes, (uint16_t)(value >> 16));
	mlb_put16(ret_bytes + 2, (uint16_t)value);
}

static inline void mlb_put64(uint8_t *ret_bytes, uint64_t value)
{
	mlb_put32(ret_bytes, (uint32_t)(value >> 32));
	mlb_put32(ret_bytes + 4, (uint32_t)value);
}

#endif
