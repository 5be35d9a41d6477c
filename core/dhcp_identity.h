/* Who a Service is to a DHCP server: derived, so that each node, and the same Service created again, is the same client. */
#ifndef MLB_DHCP_IDENTITY_H
#define MLB_DHCP_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_DUID_UUID_SIZE 18	/* type and UUID (RFC 6355 section 4) */
#define MLB_CLIENT_ID_SIZE (1 + 4 + MLB_DUID_UUID_SIZE)

struct mlb_dhcp_identity {
	uint8_t duid[MLB_DUID_UUID_SIZE];
	uint8_t iaid[4];
	uint8_t mac[MLB_MAC_SIZE];	/* locally administered */
};

/* From SHA-256 (FIPS 180-4) of the texts, each ended by a NUL, which none of them holds. 0; -EIO when libcrypto fails. */
int mlb_dhcp_identify(const char *const *texts, size_t count, struct mlb_dhcp_identity *ret_identity);

/* The client identifier of RFC 4361 section 6.1: 255, IAID, DUID. */
void mlb_dhcp_client_id(const struct mlb_dhcp_identity *identity, uint8_t ret_id[MLB_CLIENT_ID_SIZE]);

#endif
