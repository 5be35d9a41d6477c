/* What a DHCPv6 client believes: RFC 8415 sections 16 and 18.2.9 to 18.2.10. */
#include <string.h>

#include "address.h"
#include "dhcp6_client_impl.h"
#include "dhcp_random.h"

#define SECOND MLB_DHCP6_SECOND
#define NOTE_EVERY (60 * SECOND)	/* of refused answers */
#define SOLICIT_MAX_LEAST 60		/* section 21.24 */
#define SOLICIT_MAX_MOST 86400

static bool is_unicast(const struct in6_addr *address)
{
	const struct mlb_address unpacked = mlb_address_from_bytes(6, address);

	return mlb_address_kind(&unpacked) == MLB_UNICAST;
}

/* A usable address of the IA: the one that we have or ask for if it is there, else the first. NULL: there is none. */
static const struct mlb_dhcp6_address *pick(const struct mlb_dhcp6_message *message, const struct in6_addr *preferred)
{
	const struct mlb_dhcp6_address *first = NULL;

	for (size_t i = 0; i < message->naddresses; i++) {
		const struct mlb_dhcp6_address *each = &message->addresses[i];

		if (each->valid_s == 0 || !is_unicast(&each->address))
			continue;
		if (mlb_dhcp6_is_same_address(&each->address, preferred))
			return each;
		if (!first)
			first = each;
	}
	return first;
}

static int64_t after(int64_t at, uint32_t seconds)
{
	return seconds == MLB_DHCP6_FOREVER ? MLB_DHCP6_NEVER : at + seconds * SECOND;
}

/* A point between two fractions of `seconds`. */
static int64_t part_of(struct mlb_dhcp6_client *client, uint32_t seconds, unsigned least_permille, unsigned spread)
{
	return seconds * SECOND * (least_permille + mlb_dhcp_draw_below(&client->random, spread + 1)) / 1000;
}

/* Section 14.2: T1 and T2 of 0 are for the client to choose, 0.5 and 0.8 of the preferred lifetime. So are those that would not
 * come before the end. */
static void set_times(struct mlb_dhcp6_client *client, const struct mlb_dhcp6_message *message,
		      const struct mlb_dhcp6_address *given, struct mlb_dhcp6_lease *lease,
		      struct mlb_dhcp6_actions *actions)
{
	uint32_t base = given->preferred_s ? given->preferred_s : given->valid_s;
	int64_t half = base == MLB_DHCP6_FOREVER ? MLB_DHCP6_NEVER : client->sent_at + part_of(client, base, 480, 40);
	int64_t late = base == MLB_DHCP6_FOREVER ? MLB_DHCP6_NEVER : client->sent_at + part_of(client, base, 790, 20);

	lease->at = client->sent_at;
	lease->preferred = after(lease->at, given->preferred_s);
	lease->expires = after(lease->at, given->valid_s);
	lease->t1 = message->t1_s ? after(lease->at, message->t1_s) : half;
	lease->t2 = message->t2_s ? after(lease->at, message->t2_s) : late;
	if (lease->t1 <= lease->t2 && (lease->t2 < lease->expires || lease->expires == MLB_DHCP6_NEVER))
		return;
	mlb_dhcp6_note(actions, "T1 of %u s and T2 of %u s make no sense in a lease of %u s: 0.5 and 0.8 of it are used",
		       message->t1_s, message->t2_s, given->valid_s);
	lease->t1 = lease->at + part_of(client, given->valid_s, 480, 40);
	lease->t2 = lease->at + part_of(client, given->valid_s, 790, 20);
	if (lease->expires == MLB_DHCP6_NEVER)
		lease->t1 = lease->t2 = MLB_DHCP6_NEVER;
}

/* Is it a server's answer to what we sent last (section 16)? Else it is counted as what it is. */
static bool is_ours(struct mlb_dhcp6_client *client, const uint8_t *frame, size_t length,
		    struct mlb_dhcp6_message *message)
{
	struct mlb_datagram6 datagram;

	if (mlb_datagram6_unwrap(frame, length, &datagram, NULL) < 0) {
		client->stats.bad++;
		return false;
	}
	if (datagram.destination_port != MLB_DHCP6_CLIENT_PORT ||
	    memcmp(datagram.destination_mac, client->options.mac, MLB_MAC_SIZE) != 0) {
		client->stats.foreign++;
		return false;
	}
	if (mlb_dhcp6_decode(datagram.payload, datagram.length, &client->options.iaid, message, NULL) < 0) {
		client->stats.bad++;
		return false;
	}
	if (message->xid != client->xid || !mlb_dhcp6_is_same_duid(&message->client, &client->options.duid) ||
	    message->server.length == 0) {
		client->stats.foreign++;
		return false;
	}
	return true;
}

static bool is_expected(const struct mlb_dhcp6_client *client, const struct mlb_dhcp6_message *message)
{
	bool is_reply = message->type == MLB_DHCP6_REPLY && client->attempts > 0;

	switch (client->state) {
	case MLB_DHCP6_SELECTING:
		return message->type == MLB_DHCP6_ADVERTISE;
	case MLB_DHCP6_REQUESTING:
	case MLB_DHCP6_DECLINED:
	case MLB_DHCP6_RELEASING:
		return is_reply && mlb_dhcp6_is_same_duid(&message->server, &client->pending.server);
	case MLB_DHCP6_CONFIRMING:
	case MLB_DHCP6_RENEWING:
	case MLB_DHCP6_REBINDING:
		return is_reply;
	default:
		return false;
	}
}

static enum mlb_dhcp6_verdict refuse(struct mlb_dhcp6_client *client, int64_t now, const struct mlb_dhcp6_message *message,
				     const char *why, struct mlb_dhcp6_actions *actions)
{
	unsigned status = message->ia_status ? message->ia_status : message->status;
	const char *name = mlb_dhcp6_status_name(status);

	client->stats.refused++;
	if (client->noted_at && now - client->noted_at < NOTE_EVERY)
		return MLB_DHCP6_IGNORE;
	client->noted_at = now;
	mlb_dhcp6_note(actions, "a DHCPv6 server's %s is of no use: %s", mlb_dhcp6_type_name(message->type),
		       why ? why : name ? name : "a status that RFC 8415 has not");
	return MLB_DHCP6_IGNORE;
}

/* The lease of a message that should have one. */
static enum mlb_dhcp6_verdict judge_lease(struct mlb_dhcp6_client *client, int64_t now,
					  const struct mlb_dhcp6_message *message, enum mlb_dhcp6_verdict verdict,
					  struct mlb_dhcp6_lease *lease, struct mlb_dhcp6_actions *actions)
{
	bool is_renewal = client->state == MLB_DHCP6_RENEWING || client->state == MLB_DHCP6_REBINDING;
	const struct in6_addr *preferred = is_renewal ? &client->lease.address : mlb_dhcp6_wish(client);
	const struct mlb_dhcp6_address *given;

	if (client->state == MLB_DHCP6_REQUESTING)
		preferred = &client->pending.address;
	if (!message->has_ia)
		return refuse(client, now, message, "it has no IA of ours", actions);
	given = pick(message, preferred);
	if (!given)
		return is_renewal && message->naddresses ? MLB_DHCP6_DENIED :
			refuse(client, now, message, "it has no address that a host can have", actions);
	lease->address = given->address;
	if (verdict == MLB_DHCP6_GIVEN)
		set_times(client, message, given, lease, actions);
	return verdict;
}

/* Sections 18.2.10.1 and 18.2.10.2. */
static enum mlb_dhcp6_verdict judge_reply(struct mlb_dhcp6_client *client, int64_t now,
					  const struct mlb_dhcp6_message *message, struct mlb_dhcp6_lease *lease,
					  struct mlb_dhcp6_actions *actions)
{
	unsigned status = message->status ? message->status : message->ia_status;

	if (client->state == MLB_DHCP6_DECLINED || client->state == MLB_DHCP6_RELEASING)
		return MLB_DHCP6_DONE;
	if (status == MLB_DHCP6_NOT_ON_LINK)
		return MLB_DHCP6_DENIED;
	if (client->state == MLB_DHCP6_CONFIRMING)
		return status == MLB_DHCP6_SUCCESS ? MLB_DHCP6_CONFIRMED : refuse(client, now, message, NULL, actions);
	if (status == MLB_DHCP6_NO_BINDING && client->state != MLB_DHCP6_REQUESTING)
		return MLB_DHCP6_UNKNOWN;
	if ((status == MLB_DHCP6_NO_BINDING || status == MLB_DHCP6_NO_ADDRS_AVAIL) && client->state == MLB_DHCP6_REQUESTING)
		return MLB_DHCP6_DENIED;
	if (status != MLB_DHCP6_SUCCESS)
		return refuse(client, now, message, NULL, actions);
	return judge_lease(client, now, message, MLB_DHCP6_GIVEN, lease, actions);
}

enum mlb_dhcp6_verdict mlb_dhcp6_judge(struct mlb_dhcp6_client *client, int64_t now, const uint8_t *frame, size_t length,
				       struct mlb_dhcp6_lease *ret_lease, uint8_t *ret_preference,
				       struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_message message;

	if (!is_ours(client, frame, length, &message))
		return MLB_DHCP6_IGNORE;
	if (!is_expected(client, &message)) {
		client->stats.foreign++;
		return MLB_DHCP6_IGNORE;
	}
	client->stats.received[message.type]++;
	/* Section 18.2.9: taken from any ADVERTISE, and from a REPLY. */
	if (message.solicit_max_s >= SOLICIT_MAX_LEAST && message.solicit_max_s <= SOLICIT_MAX_MOST)
		client->solicit_max = message.solicit_max_s * SECOND;
	memset(ret_lease, 0, sizeof(*ret_lease));
	ret_lease->server = message.server;
	*ret_preference = message.preference;
	if (message.type == MLB_DHCP6_REPLY)
		return judge_reply(client, now, &message, ret_lease, actions);
	if (message.status || message.ia_status)
		return refuse(client, now, &message, NULL, actions);
	return judge_lease(client, now, &message, MLB_DHCP6_OFFERED, ret_lease, actions);
}
