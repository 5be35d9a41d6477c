/* A DHCPv4 client (RFC 2131) as a pure state machine: no socket and no clock of its own. Time and frames go in, actions come
 * out. All times are milliseconds of CLOCK_BOOTTIME. */
#ifndef MLB_DHCP_CLIENT_H
#define MLB_DHCP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datagram.h"
#include "dhcp.h"

#define MLB_DHCP_NEVER INT64_MAX
#define MLB_DHCP_ACTIONS 8
#define MLB_DHCP_NOTE 256
#define MLB_DHCP_FRAME (MLB_DATAGRAM_HEADERS + MLB_DHCP_MESSAGE_MOST)

enum mlb_dhcp_state {
	MLB_DHCP_INIT,		/* not started, or waits before it begins anew */
	MLB_DHCP_SELECTING,
	MLB_DHCP_REQUESTING,
	MLB_DHCP_REBOOTING,	/* RFC 2131's INIT-REBOOT once the REQUEST is sent */
	MLB_DHCP_CHECKING,	/* has an ACK; the address is being probed */
	MLB_DHCP_BOUND,
	MLB_DHCP_RENEWING,
	MLB_DHCP_REBINDING,
	MLB_DHCP_DECLINED,	/* waits 10 s (RFC 2131 section 3.1 (5)) */
	MLB_DHCP_ENDED,
	MLB_DHCP_STATES,
};

enum mlb_dhcp_action_type {
	MLB_DHCP_SEND,
	MLB_DHCP_CHECK,
	MLB_DHCP_GRANTED,
	MLB_DHCP_LOST,
	MLB_DHCP_NOTICE,
};

/* A lease. `address` 0: none. `t1`, `t2` and `expires` are points in time, MLB_DHCP_NEVER when it is infinite. */
struct mlb_dhcp_lease {
	uint32_t address, server, router;	/* host order; router 0: not said */
	uint8_t server_mac[MLB_MAC_SIZE];	/* where its answers came from; zero: not known */
	int prefix;				/* 0: not said */
	int64_t at;				/* when the REQUEST was sent (RFC 2131 section 4.4.1) */
	int64_t t1, t2, expires;
};

struct mlb_dhcp_action {
	enum mlb_dhcp_action_type type;
	const char *reason;			/* LOST: "nak", "expired", "declined" */
	bool is_new, is_changed;		/* GRANTED */
	struct mlb_dhcp_lease lease;		/* GRANTED; of CHECK and LOST the address alone */
	size_t length;				/* SEND */
	uint8_t frame[MLB_DHCP_FRAME];
	char text[MLB_DHCP_NOTE];		/* LOST, NOTICE */
};

/* What is to be done, in order. The caller sets `count` to 0. */
struct mlb_dhcp_actions {
	size_t count;
	struct mlb_dhcp_action items[MLB_DHCP_ACTIONS];
};

struct mlb_dhcp_options {
	uint8_t mac[MLB_MAC_SIZE];
	uint64_t seed;				/* transaction ids and jitter */
	bool is_broadcast;			/* ask for broadcast answers */
	bool has_lease;				/* start in INIT-REBOOT with `lease`; its `expires` 0: not known */
	uint16_t max_message;			/* option 57 */
	uint32_t requested;			/* option 50 of DISCOVER; 0: no wish */
	struct mlb_dhcp_lease lease;
	struct mlb_dhcp_bytes client_id, host_name, fqdn;
};

struct mlb_dhcp_stats {
	uint64_t sent[MLB_DHCP_TYPES], received[MLB_DHCP_TYPES];
	uint64_t bad;		/* malformed, or a wrong checksum */
	uint64_t foreign;	/* of another transaction, client or server, or not expected now */
	uint64_t refused;	/* its address, server or lease makes no sense */
};

struct mlb_dhcp_client;

/* NULL when out of memory. free(3) it. */
struct mlb_dhcp_client *mlb_dhcp_client_new(const struct mlb_dhcp_options *options);

void mlb_dhcp_client_start(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);

/* A frame came: anything that the interface heard. */
void mlb_dhcp_client_receive(struct mlb_dhcp_client *client, int64_t now, const uint8_t *frame, size_t length,
			     struct mlb_dhcp_actions *actions);

/* The deadline came; does nothing before it. */
void mlb_dhcp_client_tick(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);

/* The probe's outcome. False while bound: somebody else uses the address. */
void mlb_dhcp_client_checked(struct mlb_dhcp_client *client, int64_t now, bool is_free, struct mlb_dhcp_actions *actions);

/* Give back what a server may hold for us; the end. `reason` (option 56) may be NULL. */
void mlb_dhcp_client_release(struct mlb_dhcp_client *client, int64_t now, const char *reason,
			     struct mlb_dhcp_actions *actions);

/* The link came back. */
void mlb_dhcp_client_link_up(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions);

/* When tick wants to be called; MLB_DHCP_NEVER. */
int64_t mlb_dhcp_client_deadline(const struct mlb_dhcp_client *client);

enum mlb_dhcp_state mlb_dhcp_client_state(const struct mlb_dhcp_client *client);
const char *mlb_dhcp_state_name(enum mlb_dhcp_state state);
const struct mlb_dhcp_stats *mlb_dhcp_client_stats(const struct mlb_dhcp_client *client);

/* The lease that is held; NULL when none is. */
const struct mlb_dhcp_lease *mlb_dhcp_client_lease(const struct mlb_dhcp_client *client);

#endif
