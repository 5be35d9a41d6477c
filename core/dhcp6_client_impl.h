/* What the files of the DHCPv6 client share: dhcp6_client.c moves between states as time goes by,
 * dhcp6_client_events.c when something happens; dhcp6_client_send.c writes messages, dhcp6_client_answer.c judges answers. */
#ifndef MLB_DHCP6_CLIENT_IMPL_H
#define MLB_DHCP6_CLIENT_IMPL_H

#include "dhcp6_client.h"

#define MLB_DHCP6_SECOND INT64_C(1000)

struct mlb_dhcp6_client {
	struct mlb_dhcp6_options options;
	struct mlb_dhcp6_stats stats;
	enum mlb_dhcp6_state state;
	bool is_started;
	uint64_t random;
	uint32_t xid;
	unsigned attempts;		/* transmissions of this exchange */
	unsigned failures;		/* refusals since the last lease */
	int64_t began;			/* when this exchange's first message was sent */
	int64_t sent_at;		/* the last message */
	int64_t timeout;		/* RT of RFC 8415 section 15; 0: nothing sent yet */
	int64_t next;			/* retransmission, end of a wait, T1 */
	int64_t wait_until;		/* DECLINED: when to begin anew */
	int64_t solicit_max;		/* SOL_MAX_RT */
	int64_t noted_at;		/* the last note about a refused answer */
	int best;			/* how good `pending` is while ADVERTISEs are collected; 0: there is none */
	struct mlb_dhcp6_lease pending;	/* advertised, being requested or checked; declined or released */
	struct mlb_dhcp6_lease lease;	/* held, or being confirmed */
	bool is_held;			/* until lease.expires the address is ours */
	struct mlb_dhcp6_lease granted;	/* what the last GRANTED said */
	bool is_granted;		/* and it is not LOST since */
	bool has_granted;		/* there was one */
	struct in6_addr wish;		/* the address of before; unspecified: none */
	struct mlb_dhcp6_duid avoided;	/* a server that advertised and then did not give */
};

struct mlb_dhcp6_action *mlb_dhcp6_act(struct mlb_dhcp6_actions *actions, enum mlb_dhcp6_action_type type);
__attribute__((format(printf, 2, 3))) void mlb_dhcp6_note(struct mlb_dhcp6_actions *actions, const char *format, ...);

bool mlb_dhcp6_is_same_duid(const struct mlb_dhcp6_duid *a, const struct mlb_dhcp6_duid *b);
bool mlb_dhcp6_is_same_address(const struct in6_addr *a, const struct in6_addr *b);
bool mlb_dhcp6_is_set(const struct in6_addr *address);

/* The wish of the options, else the address of before. */
const struct in6_addr *mlb_dhcp6_wish(const struct mlb_dhcp6_client *client);

/* Send the message of the present state: SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, DECLINE, RELEASE. */
void mlb_dhcp6_send(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

enum mlb_dhcp6_verdict {
	MLB_DHCP6_IGNORE,
	MLB_DHCP6_OFFERED,	/* ADVERTISE with a lease */
	MLB_DHCP6_GIVEN,	/* REPLY with a lease */
	MLB_DHCP6_CONFIRMED,
	MLB_DHCP6_UNKNOWN,	/* the server knows no such lease (NoBinding): ask it for one */
	MLB_DHCP6_DENIED,	/* the address is not, or no longer, ours */
	MLB_DHCP6_DONE,		/* REPLY to DECLINE or RELEASE */
};

/* Judge a frame by the present state; what is ignored has been counted. `*ret_lease` has the server always, the rest for
 * OFFERED and GIVEN. */
enum mlb_dhcp6_verdict mlb_dhcp6_judge(struct mlb_dhcp6_client *client, int64_t now, const uint8_t *frame, size_t length,
				       struct mlb_dhcp6_lease *ret_lease, uint8_t *ret_preference,
				       struct mlb_dhcp6_actions *actions);

/* Transitions of dhcp6_client.c: to SELECTING; to REQUESTING `pending`; to CONFIRMING `lease`, and on from there; to CHECKING
 * and BOUND. */
void mlb_dhcp6_begin(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);
void mlb_dhcp6_request(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);
void mlb_dhcp6_enter_confirming(struct mlb_dhcp6_client *client, int64_t now);
void mlb_dhcp6_take_confirmation(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);
void mlb_dhcp6_check_address(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
			     struct mlb_dhcp6_actions *actions);
void mlb_dhcp6_bind_lease(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
			  struct mlb_dhcp6_actions *actions);
void mlb_dhcp6_expire(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* Send DECLINE or RELEASE of `pending`, up to four times. */
void mlb_dhcp6_repeat_farewell(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* The address is not ours, now or any more. */
void mlb_dhcp6_lose(struct mlb_dhcp6_client *client, const char *reason, const struct in6_addr *address, const char *why,
		    struct mlb_dhcp6_actions *actions);

/* Is there a lease whose end must be watched? */
bool mlb_dhcp6_is_holding(const struct mlb_dhcp6_client *client);

/* Begin another exchange, in another state. */
void mlb_dhcp6_enter(struct mlb_dhcp6_client *client, enum mlb_dhcp6_state state, int64_t now);

#endif
