/* What the files of the DHCPv4 client share: dhcp_client.c moves between states as time goes by,
 * dhcp_client_events.c when something happens; dhcp_client_send.c writes messages, dhcp_client_answer.c judges answers. */
#ifndef MLB_DHCP_CLIENT_IMPL_H
#define MLB_DHCP_CLIENT_IMPL_H

#include "dhcp_client.h"

#define MLB_DHCP_SECOND INT64_C(1000)

struct mlb_dhcp_client {
	struct mlb_dhcp_options options;
	struct mlb_dhcp_stats stats;
	enum mlb_dhcp_state state;
	bool is_started;
	uint64_t random;
	uint32_t xid;
	unsigned attempts;		/* transmissions since the state was entered */
	unsigned failures;		/* NAKs since the last lease: who sends one each time gets no tight loop */
	uint16_t secs;			/* of the last DISCOVER; its REQUEST says the same (RFC 2131 section 3.1 (3)) */
	int64_t began;			/* this acquisition or renewal */
	int64_t sent_at;		/* the last REQUEST */
	int64_t next;			/* retransmission, end of a wait, T1 */
	int64_t noted_at;		/* the last note about a refused answer */
	int best;			/* how good `pending` is while offers are collected; 0: there is none */
	struct mlb_dhcp_lease pending;	/* offered, being requested or checked */
	struct mlb_dhcp_lease lease;	/* held, or asked for by INIT-REBOOT */
	bool is_held;			/* until lease.expires the address is ours */
	struct mlb_dhcp_lease granted;	/* what the last GRANTED said; address 0: nothing yet */
	bool is_granted;		/* and it is not LOST since */
	uint32_t wish;			/* the address of before: asked for in DISCOVER, preferred among offers */
	uint32_t former_server;		/* and who gave it */
	uint32_t avoided;		/* a server that offered and then did not give */
};

/* Add an action. The text may be cut. */
struct mlb_dhcp_action *mlb_dhcp_act(struct mlb_dhcp_actions *actions, enum mlb_dhcp_action_type type);
__attribute__((format(printf, 2, 3))) void mlb_dhcp_note(struct mlb_dhcp_actions *actions, const char *format, ...);

/* An IPv4 address as text, in a buffer of the caller's. */
#define MLB_IPV4_TEXT 16
const char *mlb_ipv4_text(uint32_t address, char buffer[MLB_IPV4_TEXT]);

/* Each writes one message; those of a transaction carry client->xid. */
void mlb_dhcp_send_discover(struct mlb_dhcp_client *client, struct mlb_dhcp_actions *actions);
void mlb_dhcp_send_request(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);
void mlb_dhcp_send_decline(struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *lease,
			   struct mlb_dhcp_actions *actions);
void mlb_dhcp_send_release(struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *lease, const char *reason,
			   struct mlb_dhcp_actions *actions);

/* Judge a frame by the present state. The message's type when it is an answer to be acted upon: for OFFER and ACK its lease
 * is in `*ret_lease`. 0 when it is not; it has been counted. */
enum mlb_dhcp_type mlb_dhcp_judge(struct mlb_dhcp_client *client, int64_t now, const uint8_t *frame, size_t length,
				  struct mlb_dhcp_lease *ret_lease, struct mlb_dhcp_message *ret_message,
				  struct mlb_dhcp_actions *actions);

/* How good an offer is: 1 at least. `*ret_is_best`: none can be better. */
int mlb_dhcp_rate(const struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *offer, bool *ret_is_best);

/* Transitions of dhcp_client.c: to SELECTING; the same after a wait in INIT or DECLINED; to REQUESTING `pending`; to REBOOTING
 * `lease`; to CHECKING and BOUND. */
void mlb_dhcp_begin(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);
void mlb_dhcp_begin_after(struct mlb_dhcp_client *client, enum mlb_dhcp_state state, int64_t now, int64_t delay);
void mlb_dhcp_request_offered(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);
void mlb_dhcp_reboot(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);
void mlb_dhcp_check_address(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
			    struct mlb_dhcp_actions *actions);
void mlb_dhcp_bind_lease(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
			 struct mlb_dhcp_actions *actions);
void mlb_dhcp_expire(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);

/* The address is not ours, now or any more; `message` has a %s for it and one for the server. */
void mlb_dhcp_lose(struct mlb_dhcp_client *client, const char *reason, uint32_t address, const char *message,
		   uint32_t server, struct mlb_dhcp_actions *actions);

/* Is there a lease whose end must be watched? */
bool mlb_dhcp_is_holding(const struct mlb_dhcp_client *client);

/* Forget what was sent in the state before, and be in another one. */
void mlb_dhcp_enter(struct mlb_dhcp_client *client, enum mlb_dhcp_state state, int64_t now);

#endif
