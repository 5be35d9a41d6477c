#include "dhcp_identity.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "octets.h"

#define DUID_UUID 4		/* RFC 6355 section 4 */
#define UUID_SIZE 16
#define CLIENT_ID_NODE 255	/* RFC 4361 section 6.1 */

static int hash(const char *const *texts, size_t count, uint8_t ret_digest[SHA256_DIGEST_LENGTH])
{
	static const char purpose[] = "moonlb DHCP identity";
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		 EVP_DigestUpdate(context, purpose, sizeof(purpose)) == 1;

	for (size_t i = 0; ok && i < count; i++)
		ok = EVP_DigestUpdate(context, texts[i], strlen(texts[i]) + 1) == 1;
	ok = ok && EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
	EVP_MD_CTX_free(context);
	return ok ? 0 : -EIO;
}

int mlb_dhcp_identify(const char *const *texts, size_t count, struct mlb_dhcp_identity *ret_identity)
{
	uint8_t digest[SHA256_DIGEST_LENGTH], *uuid = ret_identity->duid + 2;
	int result = hash(texts, count, digest);

	if (result < 0)
		return result;
	mlb_put16(ret_identity->duid, DUID_UUID);
	memcpy(uuid, digest, UUID_SIZE);
	uuid[6] = 0x80 | (uuid[6] & 0x0f);	/* version 8 and the variant (RFC 9562 sections 4.1 and 5.8) */
	uuid[8] = 0x80 | (uuid[8] & 0x3f);
	memcpy(ret_identity->iaid, digest + UUID_SIZE, sizeof(ret_identity->iaid));
	memcpy(ret_identity->mac, digest + UUID_SIZE + sizeof(ret_identity->iaid), MLB_MAC_SIZE);
	ret_identity->mac[0] = 0x02;	/* a station's, locally administered (IEEE 802 section 8.4) */
	return 0;
}

void mlb_dhcp_client_id(const struct mlb_dhcp_identity *identity, uint8_t ret_id[MLB_CLIENT_ID_SIZE])
{
	ret_id[0] = CLIENT_ID_NODE;
	memcpy(ret_id + 1, identity->iaid, sizeof(identity->iaid));
	memcpy(ret_id + 1 + sizeof(identity->iaid), identity->duid, sizeof(identity->duid));
}
