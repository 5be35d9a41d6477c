/* The numbers behind transaction ids and jitter of the DHCP clients: splitmix64, deterministic for a seed, so that a run can be
 * repeated. No secret hangs on them. */
#ifndef MLB_DHCP_RANDOM_H
#define MLB_DHCP_RANDOM_H

#include <stdint.h>

static inline uint32_t mlb_dhcp_draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 32);
}

/* Below `limit`, which is at least 1. */
static inline uint32_t mlb_dhcp_draw_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)((uint64_t)mlb_dhcp_draw(state) * limit >> 32);
}

#endif
