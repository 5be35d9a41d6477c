/* The one HTTP/1.1 server: libmicrohttpd without threads, its epoll descriptor on the event loop. */
#ifndef MLB_HTTPD_H
#define MLB_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

struct mlb_httpd;
struct mlb_exchange;	/* one request and its answer */

struct mlb_httpd_options {
	struct sockaddr_storage address;	/* AF_INET or AF_INET6; `::` takes IPv4 too; port 0: any free one */
	size_t max_body;			/* bytes; a larger body is answered 413 */
	unsigned int max_connections;		/* further ones wait in the kernel */
	unsigned int idle_timeout_s;		/* without a byte moving, while not waiting for us; 0: never */
};

/* Called from the loop, never from inside libmicrohttpd. Any function of this header may be called from them. */
struct mlb_httpd_handler {
	/* A request is there with its whole body. Take a reference to answer later. */
	void (*on_request)(void *owner, struct mlb_exchange *exchange);
	/* The connection ended before the answer was delivered in full, whoever ended it. */
	void (*on_lost)(void *owner, struct mlb_exchange *exchange);
	void *owner;
};

struct mlb_http_header {
	const char *name;
	const char *value;
};

/* Listen and serve on `loop`. 0 or -errno of socket(2), bind(2), listen(2); -ENOMEM. */
int mlb_httpd_open(uv_loop_t *loop, const struct mlb_httpd_options *options,
		   const struct mlb_httpd_handler *handler, struct mlb_httpd **ret_server);

/* The bound address, its port filled in. */
void mlb_httpd_address(const struct mlb_httpd *server, struct sockaddr_storage *ret_address);

/* Stop listening and cut every connection; no handler is called any more. The memory goes when the loop has
 * closed the handles; exchanges that are still referenced stay valid and say -EPIPE. */
void mlb_httpd_close(struct mlb_httpd *server);

/* An exchange lives while its connection or any reference does. Dropping the last reference of an unanswered request
 * answers 500; of an unfinished stream aborts it: nobody is left who could. */
struct mlb_exchange *mlb_exchange_reference(struct mlb_exchange *exchange);
void mlb_exchange_release(struct mlb_exchange *exchange);

/* The request: valid while a reference is held, headers and remote only until it is answered. */
const char *mlb_exchange_method(const struct mlb_exchange *exchange);
const char *mlb_exchange_uri(const struct mlb_exchange *exchange);	/* as sent, query included */
const char *mlb_exchange_body(const struct mlb_exchange *exchange, size_t *ret_length);
void mlb_exchange_each_header(struct mlb_exchange *exchange, void *to,
			      void (*visit)(void *to, const char *name, const char *value, size_t value_length));
void mlb_exchange_remote(const struct mlb_exchange *exchange, char *ret_text, size_t size);

/* Whether it was answered (or started) already. */
bool mlb_exchange_answered(const struct mlb_exchange *exchange);

/* The whole answer. 0; -EPIPE: the client is gone; -EINVAL: a header that HTTP does not allow (or that is the server's:
 * Content-Length, Transfer-Encoding); -EALREADY. */
int mlb_exchange_send(struct mlb_exchange *exchange, unsigned int status, const struct mlb_http_header *headers,
		      size_t nheaders, const char *body, size_t length);

/* A streamed answer: chunked in HTTP/1.1. Errors as above. A client that hangs up is noticed also while nothing is written. */
int mlb_exchange_start(struct mlb_exchange *exchange, unsigned int status,
		       const struct mlb_http_header *headers, size_t nheaders);

/* Queue bytes of a started stream; they go on the wire before the loop sleeps. 0; -EPIPE: client gone, or finished;
 * -ENOBUFS: more than 64 MiB wait for the client, which is cut off. */
int mlb_exchange_write(struct mlb_exchange *exchange, const char *data, size_t length);

/* End a started stream after what is queued. */
void mlb_exchange_finish(struct mlb_exchange *exchange);

/* Cut the TCP connection at once, with a reset. */
void mlb_exchange_abort(struct mlb_exchange *exchange);

/* Bytes written to a stream that the kernel has not taken yet. */
size_t mlb_exchange_pending(const struct mlb_exchange *exchange);

/* Whether the connection is gone or the answer delivered. */
bool mlb_exchange_is_over(const struct mlb_exchange *exchange);

#endif
