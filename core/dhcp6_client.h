/* A DHCPv6 client for one address (IA_NA; RFC 8415 section 18.2) as a pure state machine, as dhcp_client.h is for IPv4. All
 * times are milliseconds of CLOCK_BOOTTIME. */
#ifndef MLB_DHCP6_CLIENT_H
#define MLB_DHCP6_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datagram6.h"
#include "dhcp6.h"

#define MLB_DHCP6_NEVER INT64_MAX
#define MLB_DHCP6_ACTIONS 8
#define MLB_DHCP6_NOTE 256
#define MLB_DHCP6_FRAME (MLB_DATAGRAM6_HEADERS + MLB_DHCP6_MESSAGE_MOST)

enum mlb_dhcp6_state {
	MLB_DHCP6_INIT,		/* not started, or waits before it begins anew */
	MLB_DHCP6_SELECTING,
	MLB_DHCP6_REQUESTING,
	MLB_DHCP6_CONFIRMING,
	MLB_DHCP6_CHECKING,	/* has a REPLY; duplicate address detection runs */
	MLB_DHCP6_BOUND,
	MLB_DHCP6_RENEWING,
	MLB_DHCP6_REBINDING,
	MLB_DHCP6_DECLINED,	/* waits 10 s */
	MLB_DHCP6_RELEASING,	/* until the server says that it knows, or four RELEASEs */
	MLB_DHCP6_ENDED,
	MLB_DHCP6_STATES,
};

enum mlb_dhcp6_action_type {
	MLB_DHCP6_SEND,
	MLB_DHCP6_CHECK,
	MLB_DHCP6_GRANTED,
	MLB_DHCP6_LOST,
	MLB_DHCP6_NOTICE,
};

/* A lease; an unspecified address: none. `t1`, `t2`, `preferred` and `expires` are points in time, MLB_DHCP6_NEVER when
 * infinite. */
struct mlb_dhcp6_lease {
	struct in6_addr address;
	struct mlb_dhcp6_duid server;
	int64_t at;	/* when what the server replied to was sent */
	int64_t t1, t2, preferred, expires;
};

struct mlb_dhcp6_action {
	enum mlb_dhcp6_action_type type;
	const char *reason;		/* LOST: "nak", "expired", "declined" */
	bool is_new, is_changed;	/* GRANTED */
	struct mlb_dhcp6_lease lease;	/* GRANTED; of CHECK and LOST the address alone */
	size_t length;			/* SEND */
	uint8_t frame[MLB_DHCP6_FRAME];
	char text[MLB_DHCP6_NOTE];	/* LOST, NOTICE */
};

/* What is to be done, in order. The caller sets `count` to 0. */
struct mlb_dhcp6_actions {
	size_t count;
	struct mlb_dhcp6_action items[MLB_DHCP6_ACTIONS];
};

struct mlb_dhcp6_options {
	uint8_t mac[MLB_MAC_SIZE];
	struct in6_addr source;		/* link-local, of the interface */
	struct mlb_dhcp6_duid duid;
	uint32_t iaid;
	uint64_t seed;
	struct in6_addr requested;	/* unspecified: no wish */
	bool has_lease;			/* start with CONFIRM of `lease`; its `expires` 0: not known */
	struct mlb_dhcp6_lease lease;
	size_t fqdn_length;		/* in DNS wire form (RFC 4704 section 4.2); 0: none */
	uint8_t fqdn[MLB_DHCP6_TEXT_MOST];
};

struct mlb_dhcp6_stats {
	uint64_t sent[MLB_DHCP6_TYPES], received[MLB_DHCP6_TYPES];
	uint64_t bad;		/* malformed, or a wrong checksum */
	uint64_t foreign;	/* of another transaction, client or server, or not expected now */
	uint64_t refused;	/* a status or lease that is of no use */
};

struct mlb_dhcp6_client;

/* NULL when out of memory. free(3) it. */
struct mlb_dhcp6_client *mlb_dhcp6_client_new(const struct mlb_dhcp6_options *options);

void mlb_dhcp6_client_start(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* A frame came: anything that the interface heard. */
void mlb_dhcp6_client_receive(struct mlb_dhcp6_client *client, int64_t now, const uint8_t *frame, size_t length,
			      struct mlb_dhcp6_actions *actions);

/* The deadline came; does nothing before it. */
void mlb_dhcp6_client_tick(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* The outcome of duplicate address detection. False while bound: somebody else uses the address. */
void mlb_dhcp6_client_checked(struct mlb_dhcp6_client *client, int64_t now, bool is_free,
			      struct mlb_dhcp6_actions *actions);

/* Give back what a server may hold for us; then the end. */
void mlb_dhcp6_client_release(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* The link came back. */
void mlb_dhcp6_client_link_up(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions);

/* When tick wants to be called; MLB_DHCP6_NEVER. */
int64_t mlb_dhcp6_client_deadline(const struct mlb_dhcp6_client *client);

enum mlb_dhcp6_state mlb_dhcp6_client_state(const struct mlb_dhcp6_client *client);
const char *mlb_dhcp6_state_name(enum mlb_dhcp6_state state);
const struct mlb_dhcp6_stats *mlb_dhcp6_client_stats(const struct mlb_dhcp6_client *client);

/* The lease that is held; NULL when none is. */
const struct mlb_dhcp6_lease *mlb_dhcp6_client_lease(const struct mlb_dhcp6_client *client);

#endif
