/* Between httpd.c and httpd_exchange.c alone: what the server and its exchanges know of each other. */
#ifndef MLB_HTTPD_EXCHANGE_H
#define MLB_HTTPD_EXCHANGE_H

#include <sys/queue.h>

#include <microhttpd.h>

#include "bytes.h"
#include "httpd.h"

TAILQ_HEAD(mlb_exchange_list, mlb_exchange);

struct mlb_exchange {
	TAILQ_ENTRY(mlb_exchange) open_link;	/* server->open, while `connection` is set */
	TAILQ_ENTRY(mlb_exchange) event_link;	/* server->events, while `event` is set; holds a reference */
	enum { EVENT_NONE, EVENT_REQUEST, EVENT_LOST } event;
	unsigned int references;	/* of those who may answer */
	struct mlb_httpd *server;	/* valid while `connection` is */
	struct MHD_Connection *connection;	/* NULL: over */
	uv_poll_t *hangup;		/* a stream's: closed before libmicrohttpd closes the descriptor */
	int fd;
	char *uri;
	char *method;
	struct mlb_bytes body;
	size_t thrown_away;		/* bytes of a body that is too large */
	struct mlb_bytes queue;		/* of a stream: not yet taken */
	struct MHD_Response *response;	/* made, not yet given to libmicrohttpd */
	unsigned int status;
	bool is_read;			/* the headers are complete */
	bool is_too_large;
	bool is_suspended;
	bool is_answered;
	bool is_stream;
	bool is_finished;
	bool is_cut;
};

/* libmicrohttpd's callbacks for one exchange; `server` is their cls. */
void *mlb_exchange_open(void *server, const char *uri, struct MHD_Connection *connection);
enum MHD_Result mlb_exchange_advance(void *server, struct MHD_Connection *connection, const char *url,
				     const char *method, const char *version, const char *upload,
				     size_t *upload_length, void **context);
void mlb_exchange_completed(void *server, struct MHD_Connection *connection, void **context,
			    enum MHD_RequestTerminationCode code);

/* The server's side: lists, the limit, and waking. */
void mlb_httpd_enter(struct mlb_httpd *server, struct mlb_exchange *exchange);
void mlb_httpd_leave(struct mlb_httpd *server, struct mlb_exchange *exchange);
void mlb_httpd_post(struct mlb_httpd *server, struct mlb_exchange *exchange, int event);
void mlb_httpd_wake(struct mlb_httpd *server);
size_t mlb_httpd_max_body(const struct mlb_httpd *server);
uv_loop_t *mlb_httpd_loop(const struct mlb_httpd *server);

/* Resume a suspended connection, so that libmicrohttpd asks again. */
void mlb_exchange_resume(struct mlb_exchange *exchange);

#endif
