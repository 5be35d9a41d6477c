/* What a DHCPv4 client is told, and what it makes of it: answers, the outcome of a probe, the end, a link that came back. */
#include "dhcp_client.h"

#include "dhcp_client_impl.h"
#include "dhcp_random.h"

#define SECOND MLB_DHCP_SECOND
#define COLLECT SECOND			/* how long a better offer is waited for, when one is conceivable */
#define DECLINE_WAIT (10 * SECOND)	/* section 3.1 (5) */

/* The first offer is taken, unless another could be better: the address of before, the wish, not from a server that let us
 * down. Then a second is waited. */
static void take_offer(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *offer,
		       struct mlb_dhcp_actions *actions)
{
	bool is_best;
	int rate = mlb_dhcp_rate(client, offer, &is_best);

	if (rate <= client->best)
		return;
	client->pending = *offer;
	if (is_best) {
		mlb_dhcp_request_offered(client, now, actions);
		return;
	}
	if (client->best == 0)
		client->next = now + COLLECT;
	client->best = rate;
}

static void take_ack(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
		     struct mlb_dhcp_actions *actions)
{
	bool is_renewal = client->state == MLB_DHCP_RENEWING || client->state == MLB_DHCP_REBINDING;

	if (is_renewal && lease->address == client->lease.address)
		mlb_dhcp_bind_lease(client, now, lease, actions);
	else
		mlb_dhcp_check_address(client, now, lease, actions);
}

/* The first NAK begins anew at once (RFC 2131 section 3.1 (4)), each further one later, up to 64 s. */
static void take_nak(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_message *nak,
		     struct mlb_dhcp_actions *actions)
{
	char server[MLB_IPV4_TEXT], address[MLB_IPV4_TEXT];
	unsigned doubled = client->failures < 7 ? client->failures : 7;

	if (client->state == MLB_DHCP_REQUESTING)
		mlb_dhcp_note(actions, "server %s offered %s and then refused it (NAK)", mlb_ipv4_text(nak->server, server),
			      mlb_ipv4_text(client->pending.address, address));
	else
		mlb_dhcp_lose(client, "nak", client->lease.address, "%s is not ours: server %s refuses it (NAK)", nak->server, actions);
	client->wish = 0;
	client->avoided = client->state == MLB_DHCP_REQUESTING ? nak->server : 0;
	client->failures++;
	if (doubled == 0)
		mlb_dhcp_begin(client, now, actions);
	else
		mlb_dhcp_begin_after(client, MLB_DHCP_INIT, now, SECOND << (doubled - 1));
}

void mlb_dhcp_client_receive(struct mlb_dhcp_client *client, int64_t now, const uint8_t *frame, size_t length,
			     struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_message message;
	struct mlb_dhcp_lease lease;

	switch (mlb_dhcp_judge(client, now, frame, length, &lease, &message, actions)) {
	case MLB_DHCP_OFFER:
		take_offer(client, now, &lease, actions);
		break;
	case MLB_DHCP_ACK:
		take_ack(client, now, &lease, actions);
		break;
	case MLB_DHCP_NAK:
		take_nak(client, now, &message, actions);
		break;
	default:
		break;
	}
}

/* RFC 2131 section 3.1 (5); the address is not asked for again. */
static void decline(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_lease *lease,
		    struct mlb_dhcp_actions *actions)
{
	const struct mlb_dhcp_lease declined = *lease;

	client->xid = mlb_dhcp_draw(&client->random);
	mlb_dhcp_send_decline(client, &declined, actions);
	mlb_dhcp_lose(client, "declined", declined.address, "%s of server %s is in use by somebody else: declined", declined.server,
		      actions);
	client->wish = 0;
	mlb_dhcp_begin_after(client, MLB_DHCP_DECLINED, now, DECLINE_WAIT);
}

void mlb_dhcp_client_checked(struct mlb_dhcp_client *client, int64_t now, bool is_free, struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_lease lease = client->pending;

	if (client->state == MLB_DHCP_CHECKING) {
		client->lease = lease;
		if (!is_free)
			decline(client, now, &lease, actions);
		else if (lease.expires <= now)
			mlb_dhcp_expire(client, now, actions);
		else
			mlb_dhcp_bind_lease(client, now, &lease, actions);
	} else if (mlb_dhcp_is_holding(client) && !is_free) {
		decline(client, now, &client->lease, actions);
	}
}

void mlb_dhcp_client_release(struct mlb_dhcp_client *client, int64_t now, const char *reason,
			     struct mlb_dhcp_actions *actions)
{
	bool is_asked = client->state == MLB_DHCP_REQUESTING || client->state == MLB_DHCP_CHECKING;
	bool has_lease = client->is_held || client->state == MLB_DHCP_REBOOTING;

	client->xid = mlb_dhcp_draw(&client->random);
	/* A REQUEST may have been granted although its ACK is still under way. */
	if (is_asked && client->pending.server)
		mlb_dhcp_send_release(client, &client->pending, reason, actions);
	if (has_lease && client->lease.server && !(is_asked && client->lease.address == client->pending.address))
		mlb_dhcp_send_release(client, &client->lease, reason, actions);
	client->is_held = client->is_granted = false;
	mlb_dhcp_enter(client, MLB_DHCP_ENDED, now);
}

void mlb_dhcp_client_link_up(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	switch (client->state) {
	case MLB_DHCP_BOUND:
	case MLB_DHCP_RENEWING:
	case MLB_DHCP_REBINDING:
	case MLB_DHCP_REBOOTING:
		if (mlb_dhcp_is_holding(client) && now >= client->lease.expires)
			mlb_dhcp_expire(client, now, actions);
		else
			mlb_dhcp_reboot(client, now, actions);
		break;
	case MLB_DHCP_SELECTING:
	case MLB_DHCP_REQUESTING:
		mlb_dhcp_begin(client, now, actions);
		break;
	default:
		break;
	}
}
