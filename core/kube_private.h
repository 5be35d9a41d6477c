/* Between kube.c (queues), kube_loop.c (libcurl on the loop, delivery), kube_transfer.c (one transfer in libcurl) and kube_access.c (server and
 * credentials) alone. */
#ifndef MLB_KUBE_PRIVATE_H
#define MLB_KUBE_PRIVATE_H

#include <sys/queue.h>
#include <time.h>

#include <curl/curl.h>

#include "bytes.h"
#include "kube.h"

/* Where the server is and how we prove who we are. */
struct mlb_kube_access {
	char *base;		/* scheme://host:port/path, without a slash at the end */
	char *host_header;	/* set with server_name: the host that `base` then does not name */
	char *connect_to;	/* CURLOPT_CONNECT_TO, likewise */
	bool is_tls;
	char *ca_file, *ca_data;
	char *cert_file, *cert_data;
	char *key_file, *key_data;
	char *proxy;
	char *user_agent;
	char *source;		/* as CURLOPT_INTERFACE takes it */
	char *token;
	char *token_file;
	unsigned int token_generation;	/* grows with each other token */
	uint64_t token_checked_ms;
	dev_t token_device;
	ino_t token_inode;
	struct timespec token_mtime;
};

int mlb_kube_access_open(struct mlb_kube_access *access, const struct mlb_kube_options *options, uint64_t now_ms,
			 char *ret_problem, size_t size);
void mlb_kube_access_close(struct mlb_kube_access *access);
int mlb_kube_access_set_token(struct mlb_kube_access *access, const char *token);

/* Read the token file again if it changed: at most once a minute, or now with `must`. What cannot be read leaves the token as it is. */
void mlb_kube_access_refresh(struct mlb_kube_access *access, uint64_t now_ms, bool must);

TAILQ_HEAD(mlb_transfer_list, mlb_transfer);

struct mlb_transfer {
	TAILQ_ENTRY(mlb_transfer) link;		/* in the list of its state */
	TAILQ_ENTRY(mlb_transfer) lines_link;	/* client->lines, with has_lines */
	enum { TRANSFER_QUEUED, TRANSFER_RUNNING, TRANSFER_DONE } state;
	struct mlb_kube *client;
	struct mlb_kube_callbacks callbacks;
	bool is_watch;
	bool is_low;
	bool keep_managed;
	bool has_lines;
	bool is_delivering;	/* a line's callback is running */
	bool is_ended;		/* by its owner, from that callback */
	bool was_retried;
	bool is_too_large;
	char *method;
	char *path;
	char *content_type;
	char *accept;
	char *header;		/* NULL: none */
	char *request_body;	/* NULL: none */
	size_t request_length;
	uint64_t deadline_ms;	/* 0: none */
	uint64_t idle_ms;
	uint64_t last_byte_ms;
	size_t limit;		/* of a body, or of a line */
	size_t line_length;	/* of the line that has not ended yet */
	struct mlb_bytes body;	/* received: the answer, or lines not delivered yet */
	CURL *easy;
	struct curl_slist *headers;
	struct curl_slist *connect_to;
	unsigned int token_generation;	/* it was sent with */
	/* The outcome, from TRANSFER_DONE on. */
	int status;
	long retry_after_s;
	char *answer_type;
	const char *code;	/* NULL: none of ours */
	char message[512];
	char curl_error[CURL_ERROR_SIZE];
};

#define MLB_KUBE_MAX_COUNTS 128

struct mlb_kube_tally {
	char method[8];
	int status;
	uint64_t count;
};

struct mlb_kube {
	uv_loop_t *loop;
	uv_timer_t timer;	/* libcurl's */
	uv_timer_t watchdog;	/* the next deadline of a queued request or quiet watch */
	uv_idle_t flush;	/* delivers what ended outside a callback of libcurl's descriptors */
	unsigned int open_handles;
	bool is_closed;
	bool is_released;
	CURLM *multi;
	struct mlb_kube_access access;
	unsigned int max_in_flight;
	struct mlb_transfer_list queued[2];	/* normal, low */
	struct mlb_transfer_list running;
	struct mlb_transfer_list done;
	struct mlb_transfer_list lines;
	struct mlb_kube_stats stats;
	struct mlb_kube_tally counts[MLB_KUBE_MAX_COUNTS];
	size_t ncounts;
};

/* Make the easy handle; -ENOMEM. */
int mlb_transfer_prepare(struct mlb_transfer *transfer, const struct mlb_kube_access *access, uint64_t now_ms);

/* Read the outcome out of the finished easy handle. */
void mlb_transfer_conclude(struct mlb_transfer *transfer, CURLcode result);

/* Set an outcome of our own: "<method> <url>: <cause>". */
void mlb_transfer_fail(struct mlb_transfer *transfer, const char *code, const char *cause);

/* Free the easy handle; what was received is kept. */
void mlb_transfer_dismantle(struct mlb_transfer *transfer);
void mlb_transfer_free(struct mlb_transfer *transfer);

/* Take a transfer off its list, and out of libcurl when it runs. */
void mlb_kube_detach(struct mlb_transfer *transfer);

/* Put a transfer that is on no list among those to deliver; hand it to libcurl; detach and free it. */
void mlb_kube_set_done(struct mlb_transfer *transfer);
void mlb_kube_start(struct mlb_kube *client, struct mlb_transfer *transfer);
void mlb_kube_discard(struct mlb_transfer *transfer);

/* Start as many queued requests as may run. */
void mlb_kube_start_queued(struct mlb_kube *client);
void mlb_kube_count_answer(struct mlb_kube *client, const struct mlb_transfer *transfer);

/* Deliver in the next turn of the loop. */
void mlb_kube_wake(struct mlb_kube *client);

/* Nothing is left to deliver: the last handle may go. */
void mlb_kube_close_flush(struct mlb_kube *client);
int mlb_kube_open_multi(struct mlb_kube *client);

/* A watch has got bytes that hold a newline (called inside libcurl: only notes it). */
void mlb_kube_note_lines(struct mlb_kube *client, struct mlb_transfer *transfer);
const struct mlb_kube_access *mlb_kube_access_of(const struct mlb_kube *client);
uint64_t mlb_kube_now(const struct mlb_kube *client);

#endif
