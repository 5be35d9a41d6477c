/* What a DHCPv6 client is told, and what it makes of it: answers, the outcome of a check, the end, a link that came back. */
#include "dhcp6_client.h"

#include <string.h>

#include "dhcp6_client_impl.h"

#define SECOND MLB_DHCP6_SECOND
#define DECLINE_WAIT (10 * SECOND)	/* as DHCPv4 has it (RFC 2131 section 3.1 (5)); RFC 8415 has no such time */
#define PREFERENCE_MOST 255		/* section 18.2.9: taken at once */

/* Section 18.2.9: the highest preference; among equals, the address that is wished for. One that comes after the first wait is
 * taken at once. */
static void take_offer(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *offer,
		       uint8_t preference, struct mlb_dhcp6_actions *actions)
{
	const struct in6_addr *wish = mlb_dhcp6_wish(client);
	bool is_avoided = client->avoided.length && mlb_dhcp6_is_same_duid(&offer->server, &client->avoided);
	bool is_wish = mlb_dhcp6_is_set(wish) && mlb_dhcp6_is_same_address(&offer->address, wish);
	int rate = 1 + (is_wish ? 1 : 0) + 2 * preference + (is_avoided ? 0 : 1024);

	if (rate <= client->best)
		return;
	client->best = rate;
	client->pending = *offer;
	if ((preference == PREFERENCE_MOST || client->attempts > 1) && !is_avoided)
		mlb_dhcp6_request(client, now, actions);
}

static void take_lease(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
		       struct mlb_dhcp6_actions *actions)
{
	bool is_ours = client->is_held && client->is_granted &&
		       mlb_dhcp6_is_same_address(&lease->address, &client->lease.address);

	if (is_ours)
		mlb_dhcp6_bind_lease(client, now, lease, actions);
	else
		mlb_dhcp6_check_address(client, now, lease, actions);
}

/* Begins anew at once the first time, each further time later, up to 64 s: who denies each time gets no tight loop. */
static void take_denial(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
			struct mlb_dhcp6_actions *actions)
{
	unsigned doubled = client->failures < 7 ? client->failures : 7;
	bool is_request = client->state == MLB_DHCP6_REQUESTING;

	if (client->is_held || !is_request)
		mlb_dhcp6_lose(client, "nak", &client->lease.address, "is not ours: a DHCPv6 server refuses it", actions);
	else
		mlb_dhcp6_note(actions, "a DHCPv6 server offered an address and then refused it");
	client->avoided.length = 0;
	if (is_request)
		client->avoided = lease->server;
	memset(&client->wish, 0, sizeof(client->wish));
	client->failures++;
	if (doubled == 0) {
		mlb_dhcp6_begin(client, now, actions);
		return;
	}
	mlb_dhcp6_enter(client, MLB_DHCP6_INIT, now);
	client->next = now + (SECOND << (doubled - 1));
}

/* Section 18.2.10.1, NoBinding: ask that server to make the lease anew. The address stays ours until it expires. */
static void ask_again(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_lease *lease,
		      struct mlb_dhcp6_actions *actions)
{
	client->pending = client->lease;
	client->pending.server = lease->server;
	mlb_dhcp6_request(client, now, actions);
}

void mlb_dhcp6_client_receive(struct mlb_dhcp6_client *client, int64_t now, const uint8_t *frame, size_t length,
			      struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_lease lease;
	uint8_t preference;

	switch (mlb_dhcp6_judge(client, now, frame, length, &lease, &preference, actions)) {
	case MLB_DHCP6_OFFERED:
		take_offer(client, now, &lease, preference, actions);
		break;
	case MLB_DHCP6_GIVEN:
		take_lease(client, now, &lease, actions);
		break;
	case MLB_DHCP6_CONFIRMED:
		mlb_dhcp6_take_confirmation(client, now, actions);
		break;
	case MLB_DHCP6_UNKNOWN:
		ask_again(client, now, &lease, actions);
		break;
	case MLB_DHCP6_DENIED:
		take_denial(client, now, &lease, actions);
		break;
	case MLB_DHCP6_DONE:
		if (client->state == MLB_DHCP6_RELEASING)
			mlb_dhcp6_enter(client, MLB_DHCP6_ENDED, now);
		else
			client->next = client->wait_until;
		break;
	case MLB_DHCP6_IGNORE:
		break;
	}
}

static void decline(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	mlb_dhcp6_enter(client, MLB_DHCP6_DECLINED, now);
	client->wait_until = now + DECLINE_WAIT;
	mlb_dhcp6_repeat_farewell(client, now, actions);
	mlb_dhcp6_lose(client, "declined", &client->pending.address, "is in use by somebody else: declined", actions);
	memset(&client->wish, 0, sizeof(client->wish));
}

void mlb_dhcp6_client_checked(struct mlb_dhcp6_client *client, int64_t now, bool is_free,
			      struct mlb_dhcp6_actions *actions)
{
	bool is_bound = client->state == MLB_DHCP6_BOUND || client->state == MLB_DHCP6_RENEWING ||
			client->state == MLB_DHCP6_REBINDING;
	struct mlb_dhcp6_lease lease = client->pending;

	if (client->state == MLB_DHCP6_CHECKING) {
		client->lease = lease;
		if (!is_free)
			decline(client, now, actions);
		else if (lease.expires <= now)
			mlb_dhcp6_expire(client, now, actions);
		else
			mlb_dhcp6_bind_lease(client, now, &lease, actions);
	} else if (is_bound && client->is_held && !is_free) {
		client->pending = client->lease;
		decline(client, now, actions);
	}
}

void mlb_dhcp6_client_release(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	bool is_asked = client->state == MLB_DHCP6_REQUESTING || client->state == MLB_DHCP6_CHECKING;
	bool has_lease = client->is_held || client->state == MLB_DHCP6_CONFIRMING || client->state == MLB_DHCP6_REBINDING;

	if (client->state == MLB_DHCP6_RELEASING || client->state == MLB_DHCP6_ENDED)
		return;
	if (!is_asked)
		client->pending = client->lease;
	client->is_held = client->is_granted = false;
	/* A REQUEST may have been granted although its REPLY is still under way. */
	if ((is_asked || has_lease) && client->pending.server.length) {
		mlb_dhcp6_enter(client, MLB_DHCP6_RELEASING, now);
		mlb_dhcp6_repeat_farewell(client, now, actions);
	} else {
		mlb_dhcp6_enter(client, MLB_DHCP6_ENDED, now);
	}
}

void mlb_dhcp6_client_link_up(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	switch (client->state) {
	case MLB_DHCP6_BOUND:
	case MLB_DHCP6_RENEWING:
	case MLB_DHCP6_REBINDING:
	case MLB_DHCP6_CONFIRMING:
		if (mlb_dhcp6_is_holding(client) && now >= client->lease.expires)
			mlb_dhcp6_expire(client, now, actions);
		else
			mlb_dhcp6_enter_confirming(client, now);
		break;
	case MLB_DHCP6_SELECTING:
	case MLB_DHCP6_REQUESTING:
		mlb_dhcp6_begin(client, now, actions);
		break;
	default:
		break;
	}
}
