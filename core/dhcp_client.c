/* The states of a DHCPv4 client: RFC 2131 section 4.4, figure 5. */
#include "dhcp_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhcp_client_impl.h"
#include "dhcp_random.h"

#define SECOND MLB_DHCP_SECOND
#define FIRST_DELAY (4 * SECOND)	/* RFC 2131 section 4.1 */
#define LAST_DELAY (64 * SECOND)
#define REQUESTS 4			/* sections 3.1 (5), 3.2 (4): 60 s in all */
#define REBOOT_PATIENCE (56 * SECOND)	/* as long as four REQUESTs take at least; short leases send more in that time */
#define RENEW_FLOOR (60 * SECOND)	/* section 4.4.5 */
#define SHORT_FLOOR SECOND		/* our own, where that one would leave no second try */

static const char *const state_names[MLB_DHCP_STATES] = {
	[MLB_DHCP_INIT] = "init",
	[MLB_DHCP_SELECTING] = "selecting",
	[MLB_DHCP_REQUESTING] = "requesting",
	[MLB_DHCP_REBOOTING] = "rebooting",
	[MLB_DHCP_CHECKING] = "checking",
	[MLB_DHCP_BOUND] = "bound",
	[MLB_DHCP_RENEWING] = "renewing",
	[MLB_DHCP_REBINDING] = "rebinding",
	[MLB_DHCP_DECLINED] = "declined",
	[MLB_DHCP_ENDED] = "ended",
};

const char *mlb_dhcp_state_name(enum mlb_dhcp_state state)
{
	return state_names[state];
}

const char *mlb_ipv4_text(uint32_t address, char buffer[MLB_IPV4_TEXT])
{
	const struct in_addr in = { htonl(address) };

	return inet_ntop(AF_INET, &in, buffer, MLB_IPV4_TEXT);
}

struct mlb_dhcp_action *mlb_dhcp_act(struct mlb_dhcp_actions *actions, enum mlb_dhcp_action_type type)
{
	struct mlb_dhcp_action *action = &actions->items[actions->count];

	assert(actions->count < MLB_DHCP_ACTIONS);
	actions->count++;
	memset(action, 0, offsetof(struct mlb_dhcp_action, frame));
	action->text[0] = '\0';
	action->type = type;
	return action;
}

void mlb_dhcp_note(struct mlb_dhcp_actions *actions, const char *format, ...)
{
	struct mlb_dhcp_action *action = mlb_dhcp_act(actions, MLB_DHCP_NOTICE);
	va_list args;

	va_start(args, format);
	vsnprintf(action->text, sizeof(action->text), format, args);
	va_end(args);
}

struct mlb_dhcp_client *mlb_dhcp_client_new(const struct mlb_dhcp_options *options)
{
	struct mlb_dhcp_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->options = *options;
	client->random = options->seed;
	client->next = MLB_DHCP_NEVER;
	return client;
}

enum mlb_dhcp_state mlb_dhcp_client_state(const struct mlb_dhcp_client *client)
{
	return client->state;
}

const struct mlb_dhcp_stats *mlb_dhcp_client_stats(const struct mlb_dhcp_client *client)
{
	return &client->stats;
}

const struct mlb_dhcp_lease *mlb_dhcp_client_lease(const struct mlb_dhcp_client *client)
{
	return client->is_held ? &client->lease : NULL;
}

bool mlb_dhcp_is_holding(const struct mlb_dhcp_client *client)
{
	return client->is_held && (client->state == MLB_DHCP_BOUND || client->state == MLB_DHCP_RENEWING ||
				   client->state == MLB_DHCP_REBINDING || client->state == MLB_DHCP_REBOOTING);
}

int64_t mlb_dhcp_client_deadline(const struct mlb_dhcp_client *client)
{
	if (mlb_dhcp_is_holding(client) && client->lease.expires < client->next)
		return client->lease.expires;
	return client->next;
}

void mlb_dhcp_enter(struct mlb_dhcp_client *client, enum mlb_dhcp_state state, int64_t now)
{
	client->state = state;
	client->attempts = 0;
	client->began = now;
	client->secs = 0;
	client->next = MLB_DHCP_NEVER;
	client->best = 0;
}

static void enter_transaction(struct mlb_dhcp_client *client, enum mlb_dhcp_state state, int64_t now)
{
	mlb_dhcp_enter(client, state, now);
	client->xid = mlb_dhcp_draw(&client->random);
}

/* After the n-th transmission 4, 8, 16, 32, 64, 64... seconds, each a second more or less (RFC 2131 section 4.1). */
static int64_t back_off(struct mlb_dhcp_client *client)
{
	int64_t delay = LAST_DELAY;

	if (client->attempts >= 1 && client->attempts <= 4)
		delay = FIRST_DELAY << (client->attempts - 1);
	return delay - SECOND + mlb_dhcp_draw_below(&client->random, 2 * SECOND + 1);
}

static void count_attempt(struct mlb_dhcp_client *client, int64_t now)
{
	int64_t seconds = (now - client->began) / SECOND;

	client->secs = (uint16_t)(seconds < UINT16_MAX ? seconds : UINT16_MAX);
	client->attempts++;
}

/* Silence is worth a word after 28 s, and then ever more seldom. */
static void note_silence(const struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	bool is_power = (client->attempts & (client->attempts - 1)) == 0;

	if (client->attempts >= 4 && is_power)
		mlb_dhcp_note(actions, "no DHCP server has offered an address for %lld s; asking on, every 64 s at least",
			      (long long)((now - client->began) / SECOND));
}

static void discover(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	note_silence(client, now, actions);
	count_attempt(client, now);
	mlb_dhcp_send_discover(client, actions);
	client->next = now + back_off(client);
}

void mlb_dhcp_begin(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	client->is_held = false;
	enter_transaction(client, MLB_DHCP_SELECTING, now);
	discover(client, now, actions);
}

void mlb_dhcp_begin_after(struct mlb_dhcp_client *client, enum mlb_dhcp_state state, int64_t now, int64_t delay)
{
	client->is_held = false;
	mlb_dhcp_enter(client, state, now);
	client->next = now + delay;
}

/* REQUEST in SELECTING's footsteps: same transaction, same secs (RFC 2131 section 4.4.1). */
void mlb_dhcp_request_offered(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	if (client->state != MLB_DHCP_REQUESTING) {
		uint16_t secs = client->secs;

		mlb_dhcp_enter(client, MLB_DHCP_REQUESTING, now);
		client->secs = secs;
	}
	client->attempts++;
	mlb_dhcp_send_request(client, now, actions);
	client->next = now + back_off(client);
}

/* A lease that is about to end does not wait 4 s. */
static void request_reboot(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	int64_t delay, half;

	count_attempt(client, now);
	mlb_dhcp_send_request(client, now, actions);
	delay = back_off(client);
	half = client->is_held && client->lease.expires != MLB_DHCP_NEVER ? (client->lease.expires - now) / 2 : delay;
	if (half < delay)
		delay = half > SECOND ? half : SECOND;
	client->next = now + delay;
}

void mlb_dhcp_reboot(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	enter_transaction(client, MLB_DHCP_REBOOTING, now);
	request_reboot(client, now, actions);
}

/* RFC 2131 section 4.4.5: half of what remains, 60 s at least. Where a phase is shorter than twice that, there would be no
 * second try: then 1 s at least, which deviates. */
static int64_t renew_delay(const struct mlb_dhcp_client *client, int64_t now, int64_t *ret_end)
{
	bool is_renewal = client->state == MLB_DHCP_RENEWING;
	int64_t start = is_renewal ? client->lease.t1 : client->lease.t2;
	int64_t end = is_renewal ? client->lease.t2 : client->lease.expires;
	int64_t least = end - start < 2 * RENEW_FLOOR ? SHORT_FLOOR : RENEW_FLOOR;
	int64_t half = (end - now) / 2;

	*ret_end = end;
	return half > least ? half : least;
}

static void request_renewal(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	int64_t end, delay = renew_delay(client, now, &end);

	count_attempt(client, now);
	mlb_dhcp_send_request(client, now, actions);
	client->next = now + delay < end ? now + delay : end;
}

static void renew(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	char server[MLB_IPV4_TEXT];

	if (now < client->lease.t2) {
		enter_transaction(client, MLB_DHCP_RENEWING, now);
	} else {
		if (client->state == MLB_DHCP_RENEWING)
			mlb_dhcp_note(actions, "server %s has not answered for %lld s; asking every server",
				      mlb_ipv4_text(client->lease.server, server),
				      (long long)((now - client->began) / SECOND));
		enter_transaction(client, MLB_DHCP_REBINDING, now);
	}
	request_renewal(client, now, actions);
}

void mlb_dhcp_lose(struct mlb_dhcp_client *client, const char *reason, uint32_t address, const char *message,
		   uint32_t server, struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_action *action = mlb_dhcp_act(actions, MLB_DHCP_LOST);
	char first[MLB_IPV4_TEXT], second[MLB_IPV4_TEXT];

	action->reason = reason;
	action->lease.address = address;
	snprintf(action->text, sizeof(action->text), message, mlb_ipv4_text(address, first), mlb_ipv4_text(server, second));
	client->is_held = false;
	client->is_granted = false;
}

void mlb_dhcp_expire(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	mlb_dhcp_lose(client, "expired", client->lease.address,
		      "the lease of %s has expired: neither server %s nor another renewed it", client->lease.server, actions);
	client->wish = client->lease.address;
	client->former_server = client->lease.server;
	mlb_dhcp_begin(client, now, actions);
}

static void note_short(const struct mlb_dhcp_lease *lease, struct mlb_dhcp_actions *actions)
{
	if (lease->expires != MLB_DHCP_NEVER && lease->t2 - lease->t1 < 2 * RENEW_FLOOR)
		mlb_dhcp_note(actions, "a lease of %lld s is too short for RFC 2131's 60 s between requests (section 4.4.5): "
			      "half of the remaining time is waited instead, 1 s at least",
			      (long long)((lease->expires - lease->at) / SECOND));
}

void mlb_dhcp_bind_lease(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
			 struct mlb_dhcp_actions *actions)
{
	const struct mlb_dhcp_lease *before = &client->granted;
	struct mlb_dhcp_action *action = mlb_dhcp_act(actions, MLB_DHCP_GRANTED);

	action->lease = *lease;
	action->is_new = !client->is_granted || before->address != lease->address;
	action->is_changed = before->address && (before->address != lease->address || before->prefix != lease->prefix ||
						 before->router != lease->router);
	mlb_dhcp_enter(client, MLB_DHCP_BOUND, now);
	client->next = lease->t1;
	client->lease = client->granted = *lease;
	client->is_held = client->is_granted = true;
	client->failures = 0;
	client->avoided = 0;
	client->wish = lease->address;
	client->former_server = lease->server;
	if (action->is_new)
		note_short(lease, actions);
}

void mlb_dhcp_check_address(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
			    struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_action *action = mlb_dhcp_act(actions, MLB_DHCP_CHECK);

	action->lease.address = lease->address;
	mlb_dhcp_enter(client, MLB_DHCP_CHECKING, now);
	client->pending = *lease;
}

/* Nobody answered INIT-REBOOT: RFC 2131 section 3.2 (4) lets the lease be used until it expires. */
static void keep_or_begin(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	char address[MLB_IPV4_TEXT];

	client->wish = client->lease.address;
	client->former_server = client->lease.server;
	if (!client->is_held) {
		mlb_dhcp_begin(client, now, actions);
		return;
	}
	mlb_dhcp_note(actions, "no DHCP server has confirmed %s; it is used on until its lease expires",
		      mlb_ipv4_text(client->lease.address, address));
	if (!client->is_granted) {
		mlb_dhcp_check_address(client, now, &client->lease, actions);
	} else if (now >= client->lease.t1) {
		renew(client, now, actions);
	} else {
		mlb_dhcp_enter(client, MLB_DHCP_BOUND, now);
		client->next = client->lease.t1;
	}
}

/* RFC 2131 section 4.4.1 would have us wait 1 to 10 s at random, so that many that start at once do not ask at once. We do not:
 * a person waits for the address, and 200 clients at once are no burden (spec/lab/dhcp_client_spec). */
void mlb_dhcp_client_start(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	if (client->is_started || client->state == MLB_DHCP_ENDED)
		return;
	client->is_started = true;
	if (!client->options.has_lease) {
		mlb_dhcp_begin(client, now, actions);
		return;
	}
	client->lease = client->options.lease;
	client->wish = client->lease.address;
	client->former_server = client->lease.server;
	client->is_held = client->lease.expires > now;
	if (client->lease.expires == 0 || client->is_held)
		mlb_dhcp_reboot(client, now, actions);
	else
		mlb_dhcp_begin(client, now, actions);
}

static void give_up_request(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	char server[MLB_IPV4_TEXT], address[MLB_IPV4_TEXT];

	mlb_dhcp_note(actions, "server %s offered %s, but did not answer %d REQUESTs",
		      mlb_ipv4_text(client->pending.server, server), mlb_ipv4_text(client->pending.address, address), REQUESTS);
	client->avoided = client->pending.server;
	mlb_dhcp_begin(client, now, actions);
}

void mlb_dhcp_client_tick(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	if (now < mlb_dhcp_client_deadline(client))
		return;
	if (mlb_dhcp_is_holding(client) && now >= client->lease.expires) {
		mlb_dhcp_expire(client, now, actions);
		return;
	}
	switch (client->state) {
	case MLB_DHCP_INIT:
	case MLB_DHCP_DECLINED:
		mlb_dhcp_begin(client, now, actions);
		break;
	case MLB_DHCP_SELECTING:
		if (client->best)
			mlb_dhcp_request_offered(client, now, actions);
		else
			discover(client, now, actions);
		break;
	case MLB_DHCP_REQUESTING:
		if (client->attempts < REQUESTS)
			mlb_dhcp_request_offered(client, now, actions);
		else
			give_up_request(client, now, actions);
		break;
	case MLB_DHCP_REBOOTING:
		if (now - client->began < REBOOT_PATIENCE)
			request_reboot(client, now, actions);
		else
			keep_or_begin(client, now, actions);
		break;
	case MLB_DHCP_RENEWING:
		if (now < client->lease.t2) {
			request_renewal(client, now, actions);
			break;
		}
		renew(client, now, actions);
		break;
	case MLB_DHCP_BOUND:
		renew(client, now, actions);
		break;
	case MLB_DHCP_REBINDING:
		request_renewal(client, now, actions);
		break;
	default:
		break;
	}
}
