/* Kubernetes API transport: requests and watch streams over HTTP/1.1 by libcurl's multi interface on the event loop. It knows
 * of Kubernetes only what the transport needs: bearer tokens, JSON lines, what to cut from objects. Other HTTP servers (a
 * policy's, a router's) are asked through it as well. */
#ifndef MLB_KUBE_H
#define MLB_KUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct mlb_kube;
struct mlb_transfer;	/* one request or one watch */

/* Strings are copied. NULL: not given. `*_data` is PEM text and wins over the file. */
struct mlb_kube_options {
	const char *server;		/* http:// or https:// URL, with or without a path */
	const char *ca_file, *ca_data;	/* neither: the system's */
	const char *cert_file, *cert_data;
	const char *key_file, *key_data;
	const char *token;
	const char *token_file;		/* wins over `token` */
	const char *server_name;	/* the name the server's certificate is checked against */
	const char *proxy;		/* NULL: none, whatever the environment says */
	const char *user_agent;
	const char *source;		/* address that connections leave from; NULL: the kernel's choice */
	unsigned int max_in_flight;
};

struct mlb_kube_request {
	const char *method;
	const char *path;		/* with its query; begins with `/` */
	const char *body;		/* NULL: none */
	size_t body_length;
	const char *content_type;
	const char *accept;
	const char *header;		/* one more header, whole: `Name: value`; NULL: none */
	uint64_t timeout_ms;		/* from the call to the whole answer, waiting in the queue included; 0: none */
	size_t max_bytes;		/* of the answer's body */
	bool is_low;			/* waits while others wait */
	bool keep_managed;		/* leave the JSON as it is */
};

struct mlb_kube_watch {
	const char *path;
	uint64_t timeout_ms;		/* of the whole stream; 0: none */
	uint64_t idle_ms;		/* without a byte; 0: for ever */
	size_t max_line;		/* bytes */
};

/* Why there is no answer (status 0), or the HTTP error that ended a watch, with its body, cut at 64 KiB. */
struct mlb_kube_failure {
	const char *message;		/* names method, URL without query, cause */
	const char *code;		/* errno name, or EAUTH for TLS; NULL with a status */
	int status;
	const char *body;
	size_t body_length;
	long retry_after_s;		/* 0: none */
};

struct mlb_kube_answer {
	int status;
	const char *body;
	size_t body_length;
	const char *content_type;	/* NULL: none */
	long retry_after_s;		/* 0: none */
};

/* Called from the loop, never from inside libcurl; any function of this header may be called from them. After on_answer or
 * on_end the transfer does not exist any more. */
struct mlb_kube_callbacks {
	void (*on_answer)(void *owner, const struct mlb_kube_failure *failure, const struct mlb_kube_answer *answer);
	void (*on_line)(void *owner, const char *text, size_t length);	/* one event, without newline */
	void (*on_end)(void *owner, const struct mlb_kube_failure *failure);	/* NULL: the server ended it cleanly */
	void *owner;
};

/* A client of one API server. 0; -errno: `ret_problem` says what of (an unreadable file, a URL that is none). */
int mlb_kube_open(uv_loop_t *loop, const struct mlb_kube_options *options, struct mlb_kube **ret_client,
		  char *ret_problem, size_t size);

/* Use another bearer token from now on (NULL: none). -EINVAL: it holds characters that a header cannot. */
int mlb_kube_set_token(struct mlb_kube *client, const char *token);

/* End everything with ECANCELED, delivered from the loop. Idempotent. */
void mlb_kube_close(struct mlb_kube *client);

/* End everything, call nobody any more, give the client up. */
void mlb_kube_release(struct mlb_kube *client);

/* Send a request now, or when less than max_in_flight others are under way. What goes wrong is told by on_answer:
 * ETIMEDOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EADDRNOTAVAIL (`source` is not on this node), EPROTO, EMSGSIZE, ECANCELED,
 * EAUTH, EAGAIN (50,000 wait already). NULL: no memory. */
struct mlb_transfer *mlb_kube_request(struct mlb_kube *client, const struct mlb_kube_request *request,
				      const struct mlb_kube_callbacks *callbacks);

/* Open a watch on a connection of its own, beside max_in_flight. NULL: no memory. */
struct mlb_transfer *mlb_kube_watch(struct mlb_kube *client, const struct mlb_kube_watch *watch,
				    const struct mlb_kube_callbacks *callbacks);

/* End a request: on_answer follows from the loop with ECANCELED. */
void mlb_kube_cancel(struct mlb_transfer *transfer);

/* End a watch without another callback. */
void mlb_kube_end_watch(struct mlb_transfer *transfer);

struct mlb_kube_stats {
	uint64_t requests;	/* answered or failed; watches included */
	uint64_t errors;	/* of them without an HTTP answer */
	unsigned int in_flight;	/* requests, without watches */
	unsigned int queued;
	unsigned int watches;
};

void mlb_kube_stats(const struct mlb_kube *client, struct mlb_kube_stats *ret_stats);

/* Answers counted by method and status; false behind the last `index`. */
bool mlb_kube_count(const struct mlb_kube *client, size_t index, const char **ret_method, int *ret_status,
		    uint64_t *ret_count);

#endif
