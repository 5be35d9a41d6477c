/* One request or watch in libcurl. Its callbacks run inside libcurl: they store bytes and note, nothing else. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "json_cut.h"
#include "kube_private.h"

#define CONNECT_TIMEOUT_MS 5000L
#define SILENT_PEER_MS 15000
#define MAX_ERROR_BODY 65536	/* of an HTTP error that ends a watch */

void mlb_transfer_fail(struct mlb_transfer *transfer, const char *code, const char *cause)
{
	int path_length = (int)strcspn(transfer->path, "?");	/* a query can be long and says little */

	transfer->code = code;
	snprintf(transfer->message, sizeof(transfer->message), "%s %s%.*s: %s", transfer->method,
		 mlb_kube_access_of(transfer->client)->base, path_length < 200 ? path_length : 200, transfer->path, cause);
}

/* Whether what comes is events, not an HTTP error or a login page of something in between. */
static bool is_event_stream(struct mlb_transfer *transfer)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &type);
	return status == 200 && (!type || strcasestr(type, "json"));
}

/* Length of the longest line that ends or goes on in `data`, the one that is open included. */
static size_t follow_lines(struct mlb_transfer *transfer, const char *data, size_t length)
{
	const char *end = data + length;
	size_t longest = 0;

	for (;;) {
		const char *newline = memchr(data, '\n', (size_t)(end - data));

		transfer->line_length += (size_t)((newline ? newline : end) - data);
		if (transfer->line_length > longest)
			longest = transfer->line_length;
		if (!newline)
			return longest;
		mlb_kube_note_lines(transfer->client, transfer);
		transfer->line_length = 0;
		data = newline + 1;
	}
}

/* CURLOPT_WRITEFUNCTION. Less than `length` ends the transfer with CURLE_WRITE_ERROR. */
static size_t on_body(char *data, size_t one, size_t length, void *context)
{
	struct mlb_transfer *transfer = context;
	size_t limit = transfer->limit;

	(void)one;
	transfer->last_byte_ms = mlb_kube_now(transfer->client);
	if (transfer->is_watch && !is_event_stream(transfer)) {
		limit = MAX_ERROR_BODY;
	} else if (transfer->is_watch) {
		transfer->is_too_large = follow_lines(transfer, data, length) > limit;
		limit = SIZE_MAX;	/* whole lines are taken out after each turn of libcurl */
	}
	if (!transfer->is_too_large && mlb_bytes_append(&transfer->body, data, length, limit) == 0)
		return length;
	transfer->is_too_large = true;
	return 0;
}

static int add_header(struct mlb_transfer *transfer, const char *name, const char *value)
{
	struct curl_slist *longer;
	char *line;

	if (asprintf(&line, "%s%s", name, value) < 0)
		return -ENOMEM;
	longer = curl_slist_append(transfer->headers, line);
	explicit_bzero(line, strlen(line));
	free(line);
	if (!longer)
		return -ENOMEM;
	transfer->headers = longer;
	return 0;
}

static int set_headers(struct mlb_transfer *transfer, const struct mlb_kube_access *access)
{
	int err = add_header(transfer, "Accept: ", transfer->accept);

	/* No 100-continue round trip (libcurl asks for one with large bodies). */
	if (!err)
		err = add_header(transfer, "Expect:", "");
	if (!err && access->token)
		err = add_header(transfer, "Authorization: Bearer ", access->token);
	if (!err && access->host_header)
		err = add_header(transfer, access->host_header, "");
	if (!err && transfer->header)
		err = add_header(transfer, transfer->header, "");
	if (!err && transfer->request_body)
		err = add_header(transfer, "Content-Type: ", transfer->content_type);
	transfer->token_generation = access->token_generation;
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	return err;
}

static int set_target(struct mlb_transfer *transfer, const struct mlb_kube_access *access)
{
	CURL *easy = transfer->easy;
	CURLcode result;
	char *url;

	if (asprintf(&url, "%s%s", access->base, transfer->path) < 0)
		return -ENOMEM;
	result = curl_easy_setopt(easy, CURLOPT_URL, url);
	free(url);
	if (result != CURLE_OK)
		return -ENOMEM;
	if (access->connect_to) {
		transfer->connect_to = curl_slist_append(NULL, access->connect_to);
		curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
	}
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, access->is_tls ? "https" : "http");
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, access->proxy ? access->proxy : "");	/* "": not the environment's */
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	return 0;
}

static void set_blob(CURL *easy, CURLoption option, char *pem)
{
	struct curl_blob blob = { .data = pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY };

	curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, const struct mlb_kube_access *access)
{
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (access->ca_data || access->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);	/* this authority alone, not the system's beside it */
	if (access->ca_data)
		set_blob(easy, CURLOPT_CAINFO_BLOB, access->ca_data);
	else if (access->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, access->ca_file);
	if (access->cert_data)
		set_blob(easy, CURLOPT_SSLCERT_BLOB, access->cert_data);
	else if (access->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, access->cert_file);
	if (access->key_data)
		set_blob(easy, CURLOPT_SSLKEY_BLOB, access->key_data);
	else if (access->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, access->key_file);
}

static void set_method(struct mlb_transfer *transfer)
{
	CURL *easy = transfer->easy;

	if (strcmp(transfer->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (transfer->request_body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->request_length);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->request_body);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, transfer->method);
}

/* A peer that acknowledges nothing, keepalive probes included, for so long is gone (tcp(7), TCP_USER_TIMEOUT). */
static int limit_silence(void *context, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int timeout_ms = SILENT_PEER_MS;

	(void)context;
	(void)purpose;
	/* Without it a dead connection is found later: no reason to have none. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	return CURL_SOCKOPT_OK;
}

/* A watch is alone on its connection: beside many writes on one HTTP/2 connection it goes silent for ever, so all is HTTP/1.1. */
static void set_connection(struct mlb_transfer *transfer, const struct mlb_kube_access *access)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);	/* do not wait for a resolver thread when cancelled */
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 5L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 5L);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, limit_silence);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, access->user_agent);
	if (access->source)
		curl_easy_setopt(easy, CURLOPT_INTERFACE, access->source);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "identity");
	/* A watch is alone on its connection; and none outlives the address that it leaves from. */
	if (transfer->is_watch || access->source) {
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	}
	if (!transfer->is_watch) {
		curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)transfer->limit);
	}
}

int mlb_transfer_prepare(struct mlb_transfer *transfer, const struct mlb_kube_access *access, uint64_t now_ms)
{
	CURL *easy = curl_easy_init();
	int err;

	transfer->easy = easy;
	if (!easy)
		return -ENOMEM;
	transfer->curl_error[0] = '\0';
	transfer->last_byte_ms = now_ms;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	if (transfer->deadline_ms)
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
				 (long)(transfer->deadline_ms > now_ms ? transfer->deadline_ms - now_ms : 1));
	set_connection(transfer, access);
	set_tls(easy, access);
	set_method(transfer);
	err = set_target(transfer, access);
	if (!err)
		err = set_headers(transfer, access);
	return err;
}

static int connect_errno(CURL *easy)
{
	long err = 0;

	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &err);
	return err ? (int)err : ECONNREFUSED;
}

static const char *code_of(CURL *easy, CURLcode result)
{
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		return "ETIMEDOUT";
	case CURLE_COULDNT_CONNECT:
		return strerrorname_np(connect_errno(easy));
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return "EHOSTUNREACH";
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return "ECONNRESET";
	case CURLE_FILESIZE_EXCEEDED:
		return "EMSGSIZE";
	case CURLE_INTERFACE_FAILED:
		return "EADDRNOTAVAIL";
	case CURLE_OUT_OF_MEMORY:
		return "ENOMEM";
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_USE_SSL_FAILED:
		return "EAUTH";
	default:
		return "EPROTO";
	}
}

static void conclude_failure(struct mlb_transfer *transfer, CURLcode result)
{
	const char *cause = transfer->curl_error[0] ? transfer->curl_error : curl_easy_strerror(result);
	char text[128 + CURL_ERROR_SIZE];

	if (transfer->is_too_large || result == CURLE_FILESIZE_EXCEEDED) {
		snprintf(text, sizeof(text), "%s longer than %zu bytes", transfer->is_watch ? "an event" : "the answer is",
			 transfer->limit);
		mlb_transfer_fail(transfer, "EMSGSIZE", text);
	} else if (result == CURLE_COULDNT_CONNECT) {
		snprintf(text, sizeof(text), "%s: %s", cause, strerror(connect_errno(transfer->easy)));
		mlb_transfer_fail(transfer, code_of(transfer->easy, result), text);
	} else {
		mlb_transfer_fail(transfer, code_of(transfer->easy, result), cause);
	}
}

static void conclude_watch(struct mlb_transfer *transfer)
{
	char text[128];

	if (!is_event_stream(transfer) && transfer->status == 200) {
		snprintf(text, sizeof(text), "the answer is %.80s, not JSON", transfer->answer_type);
		mlb_transfer_fail(transfer, "EPROTO", text);
	} else if (transfer->line_length) {
		mlb_transfer_fail(transfer, "ECONNRESET", "the stream ended inside an event");
	} else if (transfer->status != 200) {
		snprintf(text, sizeof(text), "HTTP status %d", transfer->status);
		mlb_transfer_fail(transfer, NULL, text);
	}
}

static void cut_body(struct mlb_transfer *transfer)
{
	size_t length = mlb_bytes_length(&transfer->body);

	if (length && transfer->answer_type && strcasestr(transfer->answer_type, "json"))
		transfer->body.end = transfer->body.start +
			mlb_json_cut(transfer->body.data + transfer->body.start, length);
}

void mlb_transfer_conclude(struct mlb_transfer *transfer, CURLcode result)
{
	const char *type = NULL;
	curl_off_t retry_after = 0;
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	transfer->answer_type = type ? strdup(type) : NULL;
	/* An HTTP error that ends a watch is one, however long or incomplete its body. */
	if (result != CURLE_OK && (!transfer->is_watch || status < 200 || is_event_stream(transfer))) {
		conclude_failure(transfer, result);
		return;
	}
	transfer->status = (int)status;
	transfer->retry_after_s = (long)retry_after;
	if (transfer->is_watch)
		conclude_watch(transfer);
	else if (!transfer->keep_managed)
		cut_body(transfer);
}

void mlb_transfer_dismantle(struct mlb_transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	for (struct curl_slist *header = transfer->headers; header; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->connect_to);
	transfer->easy = NULL;
	transfer->headers = NULL;
	transfer->connect_to = NULL;
}

void mlb_transfer_free(struct mlb_transfer *transfer)
{
	mlb_transfer_dismantle(transfer);
	mlb_bytes_free(&transfer->body);
	free(transfer->answer_type);
	free(transfer->method);
	free(transfer->path);
	free(transfer->content_type);
	free(transfer->accept);
	free(transfer->header);
	free(transfer->request_body);
	free(transfer);
}
