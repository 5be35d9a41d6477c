/* Keys of heartbeats: HMAC-SHA256 (RFC 2104, FIPS 180-4) by libcrypto, and the 16-byte ids made with the same hash. */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "heartbeat.h"

#define UUID_TEXT 36

struct mlb_heartbeat_keys {
	EVP_MAC_CTX *contexts[2];	/* current, previous; NULL: none */
	uint32_t ids[2];
};

static EVP_MAC_CTX *new_context(const uint8_t key[MLB_HEARTBEAT_KEY])
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;

	EVP_MAC_free(mac);
	if (context && EVP_MAC_init(context, key, MLB_HEARTBEAT_KEY, params) != 1) {
		EVP_MAC_CTX_free(context);
		context = NULL;
	}
	return context;
}

/* Tag of `length` bytes. Without a key given, EVP_MAC_init begins anew with the context's own. */
static bool compute(EVP_MAC_CTX *context, const uint8_t *bytes, size_t length, uint8_t ret_tag[SHA256_DIGEST_LENGTH])
{
	size_t size;

	return EVP_MAC_init(context, NULL, 0, NULL) == 1 && EVP_MAC_update(context, bytes, length) == 1 &&
	       EVP_MAC_final(context, ret_tag, &size, SHA256_DIGEST_LENGTH) == 1;
}

/* A name that tells nothing of the key: its tag of a fixed text, never 0. */
static bool name_key(EVP_MAC_CTX *context, uint32_t *ret_id)
{
	static const uint8_t text[] = "moonlb heartbeat key id";
	uint8_t tag[SHA256_DIGEST_LENGTH];

	if (!compute(context, text, sizeof(text), tag))
		return false;
	*ret_id = mlb_heartbeat_id_at(tag, 0);
	if (*ret_id == 0)
		*ret_id = 1;
	return true;
}

struct mlb_heartbeat_keys *mlb_heartbeat_keys_new(const uint8_t current[MLB_HEARTBEAT_KEY], const uint8_t *previous)
{
	struct mlb_heartbeat_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return NULL;
	for (int i = 0; i < (previous ? 2 : 1); i++) {
		keys->contexts[i] = new_context(i == 0 ? current : previous);
		if (!keys->contexts[i] || !name_key(keys->contexts[i], &keys->ids[i])) {
			mlb_heartbeat_keys_free(keys);
			return NULL;
		}
	}
	return keys;
}

void mlb_heartbeat_keys_free(struct mlb_heartbeat_keys *keys)
{
	if (!keys)
		return;
	EVP_MAC_CTX_free(keys->contexts[0]);
	EVP_MAC_CTX_free(keys->contexts[1]);
	free(keys);
}

uint32_t mlb_heartbeat_key_id(const struct mlb_heartbeat_keys *keys, bool is_previous)
{
	return keys->ids[is_previous];
}

int mlb_heartbeat_sign(struct mlb_heartbeat_keys *keys, bool is_previous, uint8_t *payload, size_t length)
{
	uint8_t tag[SHA256_DIGEST_LENGTH];

	if (!keys->contexts[is_previous] || !compute(keys->contexts[is_previous], payload, length, tag))
		return -EIO;
	memcpy(payload + length, tag, MLB_HEARTBEAT_TAG);
	return 0;
}

bool mlb_heartbeat_verify(struct mlb_heartbeat_keys *keys, const uint8_t *payload, size_t length)
{
	uint8_t tag[SHA256_DIGEST_LENGTH];
	uint32_t id;

	if (length < MLB_HEARTBEAT_HEADER + MLB_HEARTBEAT_TAG)
		return false;
	id = mlb_heartbeat_id_at(payload + 8, 0);
	for (int i = 0; i < 2; i++) {
		if (!keys->contexts[i] || keys->ids[i] != id)
			continue;
		if (compute(keys->contexts[i], payload, length - MLB_HEARTBEAT_TAG, tag) &&
		    CRYPTO_memcmp(tag, payload + length - MLB_HEARTBEAT_TAG, MLB_HEARTBEAT_TAG) == 0)
			return true;
	}
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower case alone, as Kubernetes writes UIDs. */
static bool read_uuid(const char *text, size_t length, uint8_t ret_id[MLB_HEARTBEAT_ID])
{
	uint8_t id[MLB_HEARTBEAT_ID] = { 0 };
	unsigned digit = 0;

	if (length != UUID_TEXT)
		return false;
	for (size_t i = 0; i < UUID_TEXT; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		int value = is_dash ? 0 : hex_digit(text[i]);

		if (value < 0 || (is_dash && text[i] != '-'))
			return false;
		if (is_dash)
			continue;
		id[digit / 2] = (uint8_t)(id[digit / 2] << 4 | value);
		digit++;
	}
	memcpy(ret_id, id, sizeof(id));
	return true;
}

void mlb_heartbeat_id(const char *text, size_t length, uint8_t ret_id[MLB_HEARTBEAT_ID])
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	if (read_uuid(text, length, ret_id))
		return;
	SHA256((const uint8_t *)text, length, hash);
	memcpy(ret_id, hash, MLB_HEARTBEAT_ID);
}
