/* What a DHCPv4 client believes. Everything on the LAN can send these frames: an answer has to fit the transaction, and what
 * it gives has to make sense. */
#include <string.h>

#include "address.h"
#include "dhcp_client_impl.h"
#include "dhcp_random.h"

#define NOTE_EVERY (60 * MLB_DHCP_SECOND)	/* of refused answers */

static bool is_unicast(uint32_t address)
{
	const struct mlb_address unpacked = { .low = address, .family = 4 };

	return mlb_address_kind(&unpacked) == MLB_UNICAST;
}

/* Network and broadcast address of a subnet are nobody's; /31 and /32 have none (RFC 3021). */
static bool is_host_of(uint32_t address, int prefix)
{
	uint32_t host_bits;

	if (prefix == 0 || prefix > 30)
		return true;
	host_bits = UINT32_MAX >> prefix;
	return (address & host_bits) != 0 && (address & host_bits) != host_bits;
}

/* Why an offered or acknowledged lease makes no sense; NULL when it does. */
static const char *find_nonsense(const struct mlb_dhcp_message *message)
{
	if (!is_unicast(message->server))
		return "its server identifier is none";
	if (!is_unicast(message->yiaddr) || !is_host_of(message->yiaddr, mlb_dhcp_prefix(message->mask)))
		return "its address is no host's";
	if (message->yiaddr == message->server || message->yiaddr == message->router)
		return "its address is the server's or the router's own";
	if (!message->has_lease || message->lease_s == 0)
		return "it says no lease time";
	return NULL;
}

static void read_lease(const struct mlb_dhcp_message *message, const struct mlb_datagram *datagram,
		       struct mlb_dhcp_lease *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->address = message->yiaddr;
	ret->server = message->server;
	ret->prefix = mlb_dhcp_prefix(message->mask);
	if (is_unicast(message->router))
		ret->router = message->router;
	memcpy(ret->server_mac, datagram->source_mac, MLB_MAC_SIZE);
}

/* A point between two fractions of the lease, in ms (RFC 2131 section 4.4.5: with some random fuzz around 0.5 and 0.875). */
static int64_t part_of(struct mlb_dhcp_client *client, int64_t lease, unsigned least_permille, unsigned spread)
{
	return lease * (least_permille + (int64_t)mlb_dhcp_draw_below(&client->random, spread + 1)) / 1000;
}

/* When to renew, rebind and end. T1 and T2 are the server's if 0 < T1 < T2 < lease, else 0.5 and 0.875 of it. */
static void set_times(struct mlb_dhcp_client *client, const struct mlb_dhcp_message *message, struct mlb_dhcp_lease *lease,
		      struct mlb_dhcp_actions *actions)
{
	int64_t total = message->lease_s * MLB_DHCP_SECOND;
	int64_t half = part_of(client, total, 480, 40), late = part_of(client, total, 865, 20);
	int64_t t1 = message->has_t1 ? message->t1_s * MLB_DHCP_SECOND : half;
	int64_t t2 = message->has_t2 ? message->t2_s * MLB_DHCP_SECOND : late;

	lease->at = client->sent_at;
	lease->t1 = lease->t2 = lease->expires = MLB_DHCP_NEVER;
	if (message->lease_s == MLB_DHCP_FOREVER)
		return;
	if (t1 <= 0 || t1 >= t2 || t2 >= total) {
		mlb_dhcp_note(actions, "T1 of %lld s and T2 of %lld s make no sense in a lease of %u s: 0.5 and 0.875 of it are used",
			      (long long)(t1 / MLB_DHCP_SECOND), (long long)(t2 / MLB_DHCP_SECOND), message->lease_s);
		t1 = half;
		t2 = late;
	}
	lease->t1 = lease->at + t1;
	lease->t2 = lease->at + t2;
	lease->expires = lease->at + total;
}

/* Is it an answer to what we asked last? Else it is counted as what it is. */
static bool is_ours(struct mlb_dhcp_client *client, const uint8_t *frame, size_t length, struct mlb_datagram *datagram,
		    struct mlb_dhcp_message *message)
{
	const struct mlb_dhcp_bytes *id = &client->options.client_id;

	if (mlb_datagram_unwrap(frame, length, datagram, NULL) < 0) {
		client->stats.bad++;
		return false;
	}
	client->stats.foreign++;
	if (datagram->destination_port != MLB_DHCP_CLIENT_PORT || !mlb_mac_is_station(datagram->source_mac) ||
	    (memcmp(datagram->destination_mac, client->options.mac, MLB_MAC_SIZE) != 0 &&
	     memcmp(datagram->destination_mac, mlb_mac_broadcast, MLB_MAC_SIZE) != 0))
		return false;
	if (mlb_dhcp_decode(datagram->payload, datagram->length, message, NULL) < 0) {
		client->stats.foreign--;
		client->stats.bad++;
		return false;
	}
	if (message->op != 2 || message->xid != client->xid ||
	    memcmp(message->chaddr, client->options.mac, MLB_MAC_SIZE) != 0)
		return false;
	/* RFC 6842: a server echoes the client-id; older ones do not. */
	if (message->client_id.length &&
	    (message->client_id.length != id->length || memcmp(message->client_id.bytes, id->bytes, id->length) != 0))
		return false;
	client->stats.foreign--;
	return true;
}

/* May a message of this type come now, from this server? */
static bool is_expected(const struct mlb_dhcp_client *client, const struct mlb_dhcp_message *message)
{
	bool is_verdict = message->type == MLB_DHCP_ACK || message->type == MLB_DHCP_NAK;

	switch (client->state) {
	case MLB_DHCP_SELECTING:
		return message->type == MLB_DHCP_OFFER;
	case MLB_DHCP_REQUESTING:
		return is_verdict && message->server == client->pending.server;
	case MLB_DHCP_REBOOTING:
	case MLB_DHCP_RENEWING:
	case MLB_DHCP_REBINDING:
		return is_verdict;
	default:
		return false;
	}
}

/* An ACK for another address than was asked for: only a renewal may bring one. */
static const char *find_mismatch(const struct mlb_dhcp_client *client, const struct mlb_dhcp_message *message)
{
	if (message->type != MLB_DHCP_ACK)
		return NULL;
	if ((client->state == MLB_DHCP_REQUESTING && message->yiaddr != client->pending.address) ||
	    (client->state == MLB_DHCP_REBOOTING && message->yiaddr != client->lease.address))
		return "it acknowledges another address than was asked for";
	return NULL;
}

static void refuse(struct mlb_dhcp_client *client, int64_t now, const struct mlb_dhcp_message *message, const char *why,
		   struct mlb_dhcp_actions *actions)
{
	char server[MLB_IPV4_TEXT], address[MLB_IPV4_TEXT];

	client->stats.refused++;
	if (client->noted_at && now - client->noted_at < NOTE_EVERY)
		return;
	client->noted_at = now;
	mlb_dhcp_note(actions, "%s of %s from server %s refused: %s", mlb_dhcp_type_name(message->type),
		      mlb_ipv4_text(message->yiaddr, address), mlb_ipv4_text(message->server, server), why);
}

enum mlb_dhcp_type mlb_dhcp_judge(struct mlb_dhcp_client *client, int64_t now, const uint8_t *frame, size_t length,
				  struct mlb_dhcp_lease *ret_lease, struct mlb_dhcp_message *ret_message,
				  struct mlb_dhcp_actions *actions)
{
	struct mlb_datagram datagram;
	const char *why = NULL;

	if (!is_ours(client, frame, length, &datagram, ret_message))
		return 0;
	if (!is_expected(client, ret_message)) {
		client->stats.foreign++;
		return 0;
	}
	client->stats.received[ret_message->type]++;
	if (ret_message->type == MLB_DHCP_NAK) {
		/* RFC 2131 section 4.3.1, table 3. */
		why = is_unicast(ret_message->server) ? NULL : "its server identifier is none";
	} else {
		why = find_nonsense(ret_message);
		if (!why)
			why = find_mismatch(client, ret_message);
	}
	if (why) {
		refuse(client, now, ret_message, why, actions);
		return 0;
	}
	read_lease(ret_message, &datagram, ret_lease);
	if (ret_message->type == MLB_DHCP_ACK)
		set_times(client, ret_message, ret_lease, actions);
	return ret_message->type;
}

int mlb_dhcp_rate(const struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *offer, bool *ret_is_best)
{
	uint32_t wish = client->options.requested ? client->options.requested : client->wish;
	bool is_wish = wish == 0 || offer->address == wish;
	bool is_former = client->former_server == 0 || offer->server == client->former_server;
	bool is_avoided = client->avoided != 0 && offer->server == client->avoided;

	/* Who does not have the address of before is not waited for when the offer has it; and whoever it is from. */
	*ret_is_best = !is_avoided && is_wish && (wish != 0 || is_former);
	return 1 + (is_former ? 1 : 0) + (is_wish ? 2 : 0) + (is_avoided ? 0 : 4);
}
