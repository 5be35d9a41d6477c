#include "pulse_answer.h"

#include <string.h>

#include "arp.h"
#include "ndp.h"

static bool is_same_mac(const uint8_t a[MLB_MAC_SIZE], const uint8_t b[MLB_MAC_SIZE])
{
	return memcmp(a, b, MLB_MAC_SIZE) == 0;
}

static void set_conflict(struct mlb_pulse_verdict *verdict, const struct mlb_pulse_link *link,
			 const struct in6_addr *address, const uint8_t mac[MLB_MAC_SIZE],
			 enum mlb_pulse_operation operation)
{
	verdict->has_conflict = true;
	verdict->conflict.type = MLB_PULSE_CONFLICT;
	verdict->conflict.address = *address;
	verdict->conflict.index = link->index;
	verdict->conflict.operation = operation;
	memcpy(verdict->conflict.mac, mac, MLB_MAC_SIZE);
}

static void set_arp_conflict(struct mlb_pulse_verdict *verdict, const struct mlb_pulse_link *link,
			     struct in_addr address, const uint8_t mac[MLB_MAC_SIZE], enum mlb_pulse_operation operation)
{
	struct in6_addr mapped = { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } } };

	memcpy(mapped.s6_addr + 12, &address, sizeof(address));
	set_conflict(verdict, link, &mapped, mac, operation);
}

void mlb_pulse_judge_arp(const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
			 const uint8_t *bytes, size_t length, struct mlb_pulse_verdict *ret_verdict)
{
	bool is_probe, is_foreign;
	struct mlb_arp arp;
	uint32_t use;

	memset(ret_verdict, 0, sizeof(*ret_verdict));
	if (mlb_arp_decode(bytes, length, &arp, NULL) < 0) {
		ret_verdict->is_bad = true;
		return;
	}
	if (is_same_mac(arp.sender_mac, link->mac))
		return;	/* our own frame, sent back by a bond or a switch */
	is_foreign = !mlb_pulse_is_own_mac(table, arp.sender_mac);
	is_probe = arp.sender_ip.s_addr == 0;	/* RFC 5227 section 1.1 */
	/* RFC 5227 sections 2.1.1 and 2.4: any ARP packet whose sender IP is ours and whose sender MAC is not. Who claims
	 * one of our addresses gets no answer for another: it would go to the address claimed. */
	if (is_foreign && !is_probe && mlb_pulse_use_ipv4(table, arp.sender_ip, link->index)) {
		set_arp_conflict(ret_verdict, link, arp.sender_ip, arp.sender_mac,
				 arp.operation == MLB_ARP_REQUEST ? MLB_PULSE_REQUEST : MLB_PULSE_REPLY);
		return;
	}
	if (arp.operation != MLB_ARP_REQUEST || arp.sender_ip.s_addr == arp.target_ip.s_addr)
		return;
	use = mlb_pulse_use_ipv4(table, arp.target_ip, link->index);
	if (use & MLB_PULSE_HELD) {
		ret_verdict->is_request = ret_verdict->has_answer = true;
		mlb_arp_answer(&arp, link->mac, &ret_verdict->answer);
	} else if (use && is_foreign && is_probe) {
		/* RFC 5227 section 2.1.1: another host probes for the same address at the same time. */
		set_arp_conflict(ret_verdict, link, arp.target_ip, arp.sender_mac, MLB_PULSE_PROBE);
	}
}

/* RFC 4861 section 7.2.3. */
static void judge_solicitation(const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
			       const struct mlb_ndp *ns, const uint8_t mac[MLB_MAC_SIZE], bool is_foreign,
			       struct mlb_pulse_verdict *verdict)
{
	bool is_probe = IN6_IS_ADDR_UNSPECIFIED(&ns->source);
	uint32_t use;

	if (is_foreign && !is_probe && mlb_pulse_use(table, &ns->source, link->index)) {
		set_conflict(verdict, link, &ns->source, mac, MLB_PULSE_SOLICITATION);
		return;
	}
	use = mlb_pulse_use(table, &ns->target, link->index);
	if (use & MLB_PULSE_HELD) {
		verdict->is_request = verdict->has_answer = true;
		mlb_ndp_answer(ns, link->mac, &verdict->answer);
	} else if (use && is_foreign && is_probe) {
		/* RFC 4862 section 5.4.3: two nodes do duplicate address detection for it at the same time. */
		set_conflict(verdict, link, &ns->target, mac, MLB_PULSE_PROBE);
	}
}

void mlb_pulse_judge_ndp(const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
			 const uint8_t *bytes, size_t length, struct mlb_pulse_verdict *ret_verdict)
{
	const uint8_t *mac;
	struct mlb_ndp ndp;
	bool is_foreign;

	memset(ret_verdict, 0, sizeof(*ret_verdict));
	if (mlb_ndp_decode(bytes, length, &ndp, NULL) < 0) {
		ret_verdict->is_bad = true;
		return;
	}
	mac = ndp.has_link_address ? ndp.link_address : ndp.source_mac;
	if (is_same_mac(mac, link->mac) || is_same_mac(ndp.source_mac, link->mac))
		return;	/* our own frame, sent back (RFC 4862 section 5.4.3 speaks of looped-back solicitations) */
	is_foreign = !mlb_pulse_is_own_mac(table, mac);
	if (ndp.type == MLB_NDP_SOLICITATION)
		judge_solicitation(table, link, &ndp, mac, is_foreign, ret_verdict);
	else if (is_foreign && mlb_pulse_use(table, &ndp.target, link->index))
		set_conflict(ret_verdict, link, &ndp.target, mac, MLB_PULSE_ADVERTISEMENT);	/* RFC 4862 section 5.4.4 */
}
