/* What one received frame calls for: an answer, an event, or nothing. Pure: table and bytes in, verdict out. */
#ifndef MLB_PULSE_ANSWER_H
#define MLB_PULSE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"
#include "pulse.h"
#include "pulse_table.h"

struct mlb_pulse_verdict {
	bool is_bad;		/* not a frame of its kind */
	bool is_request;	/* somebody asks for an address that is held here */
	bool has_answer;
	bool has_conflict;
	struct mlb_frame answer;		/* when has_answer */
	struct mlb_pulse_event conflict;	/* when has_conflict */
};

/* Judge a frame that came in on `link`. */
void mlb_pulse_judge_arp(const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
			 const uint8_t *bytes, size_t length, struct mlb_pulse_verdict *ret_verdict);
void mlb_pulse_judge_ndp(const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
			 const uint8_t *bytes, size_t length, struct mlb_pulse_verdict *ret_verdict);

#endif
