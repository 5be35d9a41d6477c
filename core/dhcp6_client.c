/* The states of a DHCPv6 client: RFC 8415 section 18.2. */
#include "dhcp6_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhcp6_client_impl.h"
#include "dhcp_random.h"

#define SECOND MLB_DHCP6_SECOND

/* Section 7.6. */
#define SOL_MAX_DELAY SECOND
#define SOL_TIMEOUT SECOND
#define SOL_MAX_RT (120 * SECOND)	/* RFC 3315's: with RFC 8415's 3600 s a server that comes late is found an hour later still */
#define REQ_TIMEOUT SECOND
#define REQ_MAX_RT (30 * SECOND)
#define REQ_MAX_RC 10
#define CNF_MAX_DELAY SECOND
#define CNF_TIMEOUT SECOND
#define CNF_MAX_RT (4 * SECOND)
#define CNF_MAX_RD (10 * SECOND)
#define REN_TIMEOUT (10 * SECOND)	/* REB_TIMEOUT too */
#define REN_MAX_RT (600 * SECOND)	/* REB_MAX_RT too */
#define REL_TIMEOUT SECOND		/* DEC_TIMEOUT too */
#define REL_MAX_RC 4			/* DEC_MAX_RC too */

#define REBIND_PATIENCE (60 * SECOND)	/* for a lease of which nobody says how long it lasts */

static const char *const state_names[MLB_DHCP6_STATES] = {
	[MLB_DHCP6_INIT] = "init",
	[MLB_DHCP6_SELECTING] = "selecting",
	[MLB_DHCP6_REQUESTING] = "requesting",
	[MLB_DHCP6_CONFIRMING] = "confirming",
	[MLB_DHCP6_CHECKING] = "checking",
	[MLB_DHCP6_BOUND] = "bound",
	[MLB_DHCP6_RENEWING] = "renewing",
	[MLB_DHCP6_REBINDING] = "rebinding",
	[MLB_DHCP6_DECLINED] = "declined",
	[MLB_DHCP6_RELEASING] = "releasing",
	[MLB_DHCP6_ENDED] = "ended",
};

const char *mlb_dhcp6_state_name(enum mlb_dhcp6_state state)
{
	return state_names[state];
}

bool mlb_dhcp6_is_same_duid(const struct mlb_dhcp6_duid *a, const struct mlb_dhcp6_duid *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

bool mlb_dhcp6_is_same_address(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool mlb_dhcp6_is_set(const struct in6_addr *address)
{
	return !mlb_dhcp6_is_same_address(address, &in6addr_any);
}

const struct in6_addr *mlb_dhcp6_wish(const struct mlb_dhcp6_client *client)
{
	return mlb_dhcp6_is_set(&client->options.requested) ? &client->options.requested : &client->wish;
}

struct mlb_dhcp6_action *mlb_dhcp6_act(struct mlb_dhcp6_actions *actions, enum mlb_dhcp6_action_type type)
{
	struct mlb_dhcp6_action *action = &actions->items[actions->count];

	assert(actions->count < MLB_DHCP6_ACTIONS);
	actions->count++;
	memset(action, 0, offsetof(struct mlb_dhcp6_action, frame));
	action->text[0] = '\0';
	action->type = type;
	return action;
}

void mlb_dhcp6_note(struct mlb_dhcp6_actions *actions, const char *format, ...)
{
	struct mlb_dhcp6_action *action = mlb_dhcp6_act(actions, MLB_DHCP6_NOTICE);
	va_list args;

	va_start(args, format);
	vsnprintf(action->text, sizeof(action->text), format, args);
	va_end(args);
}

struct mlb_dhcp6_client *mlb_dhcp6_client_new(const struct mlb_dhcp6_options *options)
{
	struct mlb_dhcp6_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->options = *options;
	client->random = options->seed;
	client->solicit_max = SOL_MAX_RT;
	client->next = MLB_DHCP6_NEVER;
	return client;
}

enum mlb_dhcp6_state mlb_dhcp6_client_state(const struct mlb_dhcp6_client *client)
{
	return client->state;
}

const struct mlb_dhcp6_stats *mlb_dhcp6_client_stats(const struct mlb_dhcp6_client *client)
{
	return &client->stats;
}

const struct mlb_dhcp6_lease *mlb_dhcp6_client_lease(const struct mlb_dhcp6_client *client)
{
	return client->is_held ? &client->lease : NULL;
}

bool mlb_dhcp6_is_holding(const struct mlb_dhcp6_client *client)
{
	return client->is_held && client->state != MLB_DHCP6_CHECKING;
}

int64_t mlb_dhcp6_client_deadline(const struct mlb_dhcp6_client *client)
{
	if (mlb_dhcp6_is_holding(client) && client->lease.expires < client->next)
		return client->lease.expires;
	return client->next;
}

/* Section 15: -0.1 to 0.1 of a time. */
static int64_t jitter(struct mlb_dhcp6_client *client, int64_t time)
{
	return time * ((int64_t)mlb_dhcp_draw_below(&client->random, 201) - 100) / 1000;
}

/* Section 15: how long to wait for an answer to what was just sent. */
static int64_t next_timeout(struct mlb_dhcp6_client *client, int64_t first, int64_t most)
{
	int64_t timeout;

	if (client->timeout == 0)
		timeout = first + jitter(client, first);
	else
		timeout = 2 * client->timeout + jitter(client, client->timeout);
	if (most && timeout > most)
		timeout = most + jitter(client, most);
	client->timeout = timeout;
	return timeout;
}

void mlb_dhcp6_enter(struct mlb_dhcp6_client *client, enum mlb_dhcp6_state state, int64_t now)
{
	client->state = state;
	client->attempts = 0;
	client->timeout = 0;
	client->began = now;
	client->best = 0;
	client->next = MLB_DHCP6_NEVER;
	client->xid = mlb_dhcp_draw(&client->random) & 0xffffff;
}

/* Section 18.2.1: the first wait is longer than SOL_TIMEOUT, so that the ADVERTISEs of all servers can come. */
static void solicit(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (client->attempts >= 6 && (client->attempts & (client->attempts - 1)) == 0)
		mlb_dhcp6_note(actions, "no DHCPv6 server has offered an address for %lld s; asking on, every %lld s at least",
			       (long long)((now - client->began) / SECOND), (long long)(client->solicit_max / SECOND));
	mlb_dhcp6_send(client, now, actions);
	if (client->timeout == 0)
		client->timeout = SOL_TIMEOUT + 1 + mlb_dhcp_draw_below(&client->random, SOL_TIMEOUT / 10);
	else
		next_timeout(client, SOL_TIMEOUT, client->solicit_max);
	client->next = now + client->timeout;
}

void mlb_dhcp6_begin(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	mlb_dhcp6_enter(client, MLB_DHCP6_SELECTING, now);
	solicit(client, now, actions);
}

void mlb_dhcp6_request(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (client->state != MLB_DHCP6_REQUESTING)
		mlb_dhcp6_enter(client, MLB_DHCP6_REQUESTING, now);
	mlb_dhcp6_send(client, now, actions);
	client->next = now + next_timeout(client, REQ_TIMEOUT, REQ_MAX_RT);
}

static void confirm(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	mlb_dhcp6_send(client, now, actions);
	client->next = now + next_timeout(client, CNF_TIMEOUT, CNF_MAX_RT);
}

/* Section 18.2.3: the first CONFIRM is delayed, since many start or get their link back at once. */
void mlb_dhcp6_enter_confirming(struct mlb_dhcp6_client *client, int64_t now)
{
	mlb_dhcp6_enter(client, MLB_DHCP6_CONFIRMING, now);
	client->next = now + mlb_dhcp_draw_below(&client->random, CNF_MAX_DELAY);
}

/* Sections 18.2.4 and 18.2.5: 10 s at first. Of a phase in which four such would have no room, a quarter, 1 s at least, which
 * deviates. */
static void extend(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	bool is_renewal = client->state == MLB_DHCP6_RENEWING;
	int64_t start = is_renewal ? client->lease.t1 : client->lease.t2;
	int64_t end = is_renewal ? client->lease.t2 : client->lease.expires;
	int64_t first = REN_TIMEOUT;

	if (!client->is_held)
		end = MLB_DHCP6_NEVER;
	else if (end != MLB_DHCP6_NEVER && (end - start) / 4 < first)
		first = (end - start) / 4 > SECOND ? (end - start) / 4 : SECOND;
	mlb_dhcp6_send(client, now, actions);
	client->next = now + next_timeout(client, first, REN_MAX_RT);
	if (client->next > end)
		client->next = end;
}

static void renew(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (now < client->lease.t2) {
		mlb_dhcp6_enter(client, MLB_DHCP6_RENEWING, now);
	} else {
		if (client->state == MLB_DHCP6_RENEWING)
			mlb_dhcp6_note(actions, "the DHCPv6 server has not answered for %lld s; asking every server",
				       (long long)((now - client->began) / SECOND));
		mlb_dhcp6_enter(client, MLB_DHCP6_REBINDING, now);
	}
	extend(client, now, actions);
}

void mlb_dhcp6_lose(struct mlb_dhcp6_client *client, const char *reason, const struct in6_addr *address, const char *why,
		    struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_action *action = mlb_dhcp6_act(actions, MLB_DHCP6_LOST);
	char text[INET6_ADDRSTRLEN];

	action->reason = reason;
	action->lease.address = *address;
	snprintf(action->text, sizeof(action->text), "%s %s", inet_ntop(AF_INET6, address, text, sizeof(text)), why);
	client->is_held = false;
	client->is_granted = false;
}

void mlb_dhcp6_expire(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	mlb_dhcp6_lose(client, "expired", &client->lease.address, "has expired: no DHCPv6 server renewed it", actions);
	client->wish = client->lease.address;
	mlb_dhcp6_begin(client, now, actions);
}

void mlb_dhcp6_check_address(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
			     struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_action *action = mlb_dhcp6_act(actions, MLB_DHCP6_CHECK);

	action->lease.address = lease->address;
	client->pending = *lease;
	mlb_dhcp6_enter(client, MLB_DHCP6_CHECKING, now);
}

void mlb_dhcp6_bind_lease(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
			  struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_action *action = mlb_dhcp6_act(actions, MLB_DHCP6_GRANTED);
	bool is_same = mlb_dhcp6_is_same_address(&client->granted.address, &lease->address);

	action->lease = *lease;
	action->is_new = !client->is_granted || !is_same;
	action->is_changed = client->has_granted && !is_same;
	mlb_dhcp6_enter(client, MLB_DHCP6_BOUND, now);
	client->next = lease->t1;
	client->lease = client->granted = *lease;
	client->is_held = client->is_granted = client->has_granted = true;
	client->failures = 0;
	client->avoided.length = 0;
	client->wish = lease->address;
	if (action->is_new && lease->expires != MLB_DHCP6_NEVER && lease->t2 - lease->t1 < 4 * REN_TIMEOUT)
		mlb_dhcp6_note(actions, "a lease of %lld s is too short for RFC 8415's 10 s between requests (section 18.2.4): "
			       "a quarter of the time is waited instead, 1 s at least",
			       (long long)((lease->expires - lease->at) / SECOND));
}

/* Go on with the lease that is held, after CONFIRM. */
static void resume(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (!client->is_granted) {
		mlb_dhcp6_check_address(client, now, &client->lease, actions);
	} else if (now >= client->lease.t1) {
		renew(client, now, actions);
	} else {
		mlb_dhcp6_enter(client, MLB_DHCP6_BOUND, now);
		client->next = client->lease.t1;
	}
}

/* On the right link, says a server; but CONFIRM tells no times (section 18.3.3). */
void mlb_dhcp6_take_confirmation(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (client->is_held) {
		resume(client, now, actions);
		return;
	}
	mlb_dhcp6_enter(client, MLB_DHCP6_REBINDING, now);
	extend(client, now, actions);
}

/* Nobody answered CONFIRM: section 18.2.3 lets the lease be used on. */
static void keep_or_begin(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	char text[INET6_ADDRSTRLEN];

	client->wish = client->lease.address;
	if (!client->is_held) {
		mlb_dhcp6_begin(client, now, actions);
		return;
	}
	mlb_dhcp6_note(actions, "no DHCPv6 server has confirmed %s; it is used on until its lease expires",
		       inet_ntop(AF_INET6, &client->lease.address, text, sizeof(text)));
	resume(client, now, actions);
}

void mlb_dhcp6_client_start(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	(void)actions;
	if (client->is_started || client->state == MLB_DHCP6_ENDED)
		return;
	client->is_started = true;
	client->lease = client->options.lease;
	client->wish = client->lease.address;
	client->is_held = client->options.has_lease && client->lease.expires > now;
	if (client->is_held || (client->options.has_lease && client->lease.expires == 0)) {
		mlb_dhcp6_enter_confirming(client, now);
		return;
	}
	/* Section 18.2.1: the first SOLICIT is delayed. */
	client->next = now + mlb_dhcp_draw_below(&client->random, SOL_MAX_DELAY);
}

static void give_up_request(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	mlb_dhcp6_note(actions, "a DHCPv6 server offered an address, but did not answer %d REQUESTs", REQ_MAX_RC);
	client->avoided = client->pending.server;
	mlb_dhcp6_begin(client, now, actions);
}

void mlb_dhcp6_repeat_farewell(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	int64_t end = client->state == MLB_DHCP6_DECLINED ? client->wait_until : MLB_DHCP6_NEVER;

	if (client->attempts < REL_MAX_RC) {
		mlb_dhcp6_send(client, now, actions);
		client->next = now + next_timeout(client, REL_TIMEOUT, 0);
		if (client->next > end)
			client->next = end;
	} else if (client->state == MLB_DHCP6_DECLINED) {
		client->next = end;
	} else {
		mlb_dhcp6_enter(client, MLB_DHCP6_ENDED, now);
	}
}

void mlb_dhcp6_client_tick(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	if (now < mlb_dhcp6_client_deadline(client))
		return;
	if (mlb_dhcp6_is_holding(client) && now >= client->lease.expires) {
		mlb_dhcp6_expire(client, now, actions);
		return;
	}
	switch (client->state) {
	case MLB_DHCP6_INIT:
		mlb_dhcp6_begin(client, now, actions);
		break;
	case MLB_DHCP6_DECLINED:
		if (now >= client->wait_until)
			mlb_dhcp6_begin(client, now, actions);
		else
			mlb_dhcp6_repeat_farewell(client, now, actions);
		break;
	case MLB_DHCP6_RELEASING:
		mlb_dhcp6_repeat_farewell(client, now, actions);
		break;
	case MLB_DHCP6_SELECTING:
		if (client->best)
			mlb_dhcp6_request(client, now, actions);
		else
			solicit(client, now, actions);
		break;
	case MLB_DHCP6_REQUESTING:
		if (client->attempts < REQ_MAX_RC)
			mlb_dhcp6_request(client, now, actions);
		else
			give_up_request(client, now, actions);
		break;
	case MLB_DHCP6_CONFIRMING:
		if (client->attempts == 0 || now - client->began < CNF_MAX_RD)
			confirm(client, now, actions);
		else
			keep_or_begin(client, now, actions);
		break;
	case MLB_DHCP6_REBINDING:
		if (client->is_held || now - client->began < REBIND_PATIENCE)
			extend(client, now, actions);
		else
			mlb_dhcp6_begin(client, now, actions);
		break;
	case MLB_DHCP6_RENEWING:
		if (now < client->lease.t2) {
			extend(client, now, actions);
			break;
		}
		renew(client, now, actions);
		break;
	case MLB_DHCP6_BOUND:
		renew(client, now, actions);
		break;
	default:
		break;
	}
}
