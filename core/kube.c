/* A client: its two queues, what runs, what is done. How libcurl is driven and who is told is in kube_loop.c. */
#include "kube.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kube_private.h"

#define MAX_QUEUED 50000
#define WATCHDOG_MS 50	/* a look at a full queue costs a fifth of a millisecond: not for each deadline */
static void on_watchdog(uv_timer_t *timer);

const struct mlb_kube_access *mlb_kube_access_of(const struct mlb_kube *client)
{
	return &client->access;
}

uint64_t mlb_kube_now(const struct mlb_kube *client)
{
	return uv_now(client->loop);
}

void mlb_kube_note_lines(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	if (transfer->has_lines)
		return;
	transfer->has_lines = true;
	TAILQ_INSERT_TAIL(&client->lines, transfer, lines_link);
}

void mlb_kube_count_answer(struct mlb_kube *client, const struct mlb_transfer *transfer)
{
	struct mlb_kube_tally *count = client->counts;

	client->stats.requests++;
	if (transfer->status == 0) {
		client->stats.errors++;
		return;
	}
	for (size_t i = 0; i < client->ncounts; i++, count++) {
		if (count->status == transfer->status && strcmp(count->method, transfer->method) == 0) {
			count->count++;
			return;
		}
	}
	if (client->ncounts == MLB_KUBE_MAX_COUNTS)
		return;
	client->ncounts++;
	strncpy(count->method, transfer->method, sizeof(count->method) - 1);
	count->status = transfer->status;
	count->count = 1;
}

/* Take a transfer off its list and out of libcurl. */
void mlb_kube_detach(struct mlb_transfer *transfer)
{
	struct mlb_kube *client = transfer->client;

	if (transfer->state == TRANSFER_QUEUED) {
		TAILQ_REMOVE(&client->queued[transfer->is_low], transfer, link);
		client->stats.queued--;
	} else if (transfer->state == TRANSFER_RUNNING) {
		TAILQ_REMOVE(&client->running, transfer, link);
		*(transfer->is_watch ? &client->stats.watches : &client->stats.in_flight) -= 1;
		curl_multi_remove_handle(client->multi, transfer->easy);
		mlb_transfer_dismantle(transfer);
	} else {
		TAILQ_REMOVE(&client->done, transfer, link);
	}
}

void mlb_kube_set_done(struct mlb_transfer *transfer)
{
	transfer->state = TRANSFER_DONE;
	TAILQ_INSERT_TAIL(&transfer->client->done, transfer, link);
	mlb_kube_wake(transfer->client);
}

/* End a transfer that is not in libcurl's hands at this moment with an outcome of our own. */
static void end(struct mlb_transfer *transfer, const char *code, const char *cause)
{
	mlb_kube_detach(transfer);
	transfer->status = 0;
	mlb_transfer_fail(transfer, code, cause);
	mlb_kube_count_answer(transfer->client, transfer);
	mlb_kube_set_done(transfer);
}

void mlb_kube_discard(struct mlb_transfer *transfer)
{
	if (transfer->has_lines)
		TAILQ_REMOVE(&transfer->client->lines, transfer, lines_link);
	mlb_kube_detach(transfer);
	mlb_transfer_free(transfer);
}

/* Hand a transfer that is on no list to libcurl. */
void mlb_kube_start(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	mlb_kube_access_refresh(&client->access, uv_now(client->loop), false);
	if (mlb_transfer_prepare(transfer, &client->access, uv_now(client->loop)) != 0 ||
	    curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
		mlb_transfer_dismantle(transfer);
		mlb_transfer_fail(transfer, "ENOMEM", "libcurl did not take it");
		mlb_kube_set_done(transfer);
		return;
	}
	transfer->state = TRANSFER_RUNNING;
	TAILQ_INSERT_TAIL(&client->running, transfer, link);
	*(transfer->is_watch ? &client->stats.watches : &client->stats.in_flight) += 1;
}

void mlb_kube_start_queued(struct mlb_kube *client)
{
	while (client->stats.in_flight < client->max_in_flight && client->stats.queued) {
		struct mlb_transfer *transfer = TAILQ_FIRST(&client->queued[0]);

		if (!transfer)
			transfer = TAILQ_FIRST(&client->queued[1]);
		TAILQ_REMOVE(&client->queued[transfer->is_low], transfer, link);
		client->stats.queued--;
		mlb_kube_start(client, transfer);
	}
}

static void arm_watchdog(struct mlb_kube *client, uint64_t deadline_ms)
{
	uint64_t now_ms = uv_now(client->loop);
	uint64_t delay_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	if (uv_is_active((uv_handle_t *)&client->watchdog) && uv_timer_get_due_in(&client->watchdog) <= delay_ms)
		return;
	uv_timer_start(&client->watchdog, on_watchdog, delay_ms, 0);
}

/* End what is overdue in the list; arm for the next. libcurl itself keeps the deadlines of what is running. */
static void check_deadlines(struct mlb_kube *client, struct mlb_transfer_list *list)
{
	uint64_t now_ms = uv_now(client->loop);
	struct mlb_transfer *next;

	for (struct mlb_transfer *transfer = TAILQ_FIRST(list); transfer; transfer = next) {
		bool is_queued = transfer->state == TRANSFER_QUEUED;
		uint64_t deadline_ms = is_queued ? transfer->deadline_ms : 0;

		next = TAILQ_NEXT(transfer, link);
		if (!is_queued && transfer->idle_ms)
			deadline_ms = transfer->last_byte_ms + transfer->idle_ms;
		if (!deadline_ms)
			continue;
		if (deadline_ms > now_ms)
			arm_watchdog(client, deadline_ms < now_ms + WATCHDOG_MS ? now_ms + WATCHDOG_MS : deadline_ms);
		else
			end(transfer, "ETIMEDOUT", is_queued ? "timed out in the queue" : "the stream went silent");
	}
}

static void on_watchdog(uv_timer_t *timer)
{
	struct mlb_kube *client = timer->data;

	check_deadlines(client, &client->queued[0]);
	check_deadlines(client, &client->queued[1]);
	check_deadlines(client, &client->running);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct mlb_kube *client = handle->data;

	client->open_handles--;
	if (client->is_released && client->open_handles == 0)
		free(client);
}

void mlb_kube_close_flush(struct mlb_kube *client)
{
	if (!uv_is_closing((uv_handle_t *)&client->flush))
		uv_close((uv_handle_t *)&client->flush, on_handle_closed);
}

int mlb_kube_open(uv_loop_t *loop, const struct mlb_kube_options *options, struct mlb_kube **ret_client,
		  char *ret_problem, size_t size)
{
	static bool is_initialized;
	struct mlb_kube *client = calloc(1, sizeof(*client));
	int err;

	if (!client)
		return -ENOMEM;
	if (!is_initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();	/* it cannot fail but for want of memory */
	is_initialized = true;
	client->loop = loop;
	client->max_in_flight = options->max_in_flight;
	TAILQ_INIT(&client->queued[0]);
	TAILQ_INIT(&client->queued[1]);
	TAILQ_INIT(&client->running);
	TAILQ_INIT(&client->done);
	TAILQ_INIT(&client->lines);
	err = mlb_kube_access_open(&client->access, options, uv_now(loop), ret_problem, size);
	if (!err)
		err = mlb_kube_open_multi(client);
	if (err) {
		mlb_kube_access_close(&client->access);
		free(client);
		return err;
	}
	uv_timer_init(loop, &client->timer);
	uv_timer_init(loop, &client->watchdog);
	uv_idle_init(loop, &client->flush);
	client->timer.data = client->watchdog.data = client->flush.data = client;
	client->open_handles = 3;
	*ret_client = client;
	return 0;
}

int mlb_kube_set_token(struct mlb_kube *client, const char *token)
{
	return mlb_kube_access_set_token(&client->access, token);
}

static void end_all(struct mlb_transfer_list *list)
{
	struct mlb_transfer *transfer;

	while ((transfer = TAILQ_FIRST(list)))
		end(transfer, "ECANCELED", "the client was closed");
}

void mlb_kube_close(struct mlb_kube *client)
{
	if (client->is_closed)
		return;
	client->is_closed = true;
	end_all(&client->queued[0]);
	end_all(&client->queued[1]);
	end_all(&client->running);
	curl_multi_cleanup(client->multi);
	client->multi = NULL;
	uv_close((uv_handle_t *)&client->timer, on_handle_closed);
	uv_close((uv_handle_t *)&client->watchdog, on_handle_closed);
	mlb_kube_wake(client);
}

void mlb_kube_release(struct mlb_kube *client)
{
	struct mlb_transfer *transfer;

	mlb_kube_close(client);
	while ((transfer = TAILQ_FIRST(&client->done)))
		mlb_kube_discard(transfer);
	mlb_kube_access_close(&client->access);
	client->is_released = true;
	mlb_kube_close_flush(client);
	if (client->open_handles == 0)
		free(client);
}

static struct mlb_transfer *new_transfer(struct mlb_kube *client, const char *method, const char *path,
					 const char *content_type, const char *accept, uint64_t timeout_ms)
{
	struct mlb_transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return NULL;
	transfer->client = client;
	transfer->method = strdup(method);
	transfer->path = strdup(path);
	transfer->content_type = strdup(content_type);
	transfer->accept = strdup(accept);
	transfer->deadline_ms = timeout_ms ? uv_now(client->loop) + timeout_ms : 0;
	if (transfer->method && transfer->path && transfer->content_type && transfer->accept)
		return transfer;
	mlb_transfer_free(transfer);
	return NULL;
}

static int copy_content(struct mlb_transfer *transfer, const struct mlb_kube_request *request)
{
	if (request->header) {
		transfer->header = strdup(request->header);
		if (!transfer->header)
			return -ENOMEM;
	}
	if (!request->body)
		return 0;
	transfer->request_body = malloc(request->body_length + 1);
	if (!transfer->request_body)
		return -ENOMEM;
	memcpy(transfer->request_body, request->body, request->body_length);
	transfer->request_body[request->body_length] = '\0';
	transfer->request_length = request->body_length;
	return 0;
}

static void enqueue(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	if (client->stats.queued >= MAX_QUEUED) {
		mlb_transfer_fail(transfer, "EAGAIN", "50000 requests wait already");
		mlb_kube_set_done(transfer);
		return;
	}
	transfer->state = TRANSFER_QUEUED;
	TAILQ_INSERT_TAIL(&client->queued[transfer->is_low], transfer, link);
	client->stats.queued++;
	mlb_kube_start_queued(client);
	if (transfer->state == TRANSFER_QUEUED && transfer->deadline_ms)
		arm_watchdog(client, transfer->deadline_ms);
}

struct mlb_transfer *mlb_kube_request(struct mlb_kube *client, const struct mlb_kube_request *request,
				      const struct mlb_kube_callbacks *callbacks)
{
	struct mlb_transfer *transfer;

	uv_update_time(client->loop);	/* a callback may have run for long: deadlines count from now */
	transfer = new_transfer(client, request->method, request->path, request->content_type, request->accept,
				request->timeout_ms);
	if (!transfer)
		return NULL;
	if (copy_content(transfer, request) != 0) {
		mlb_transfer_free(transfer);
		return NULL;
	}
	transfer->callbacks = *callbacks;
	transfer->limit = request->max_bytes;
	transfer->is_low = request->is_low;
	transfer->keep_managed = request->keep_managed;
	enqueue(client, transfer);
	return transfer;
}

struct mlb_transfer *mlb_kube_watch(struct mlb_kube *client, const struct mlb_kube_watch *watch,
				    const struct mlb_kube_callbacks *callbacks)
{
	struct mlb_transfer *transfer;

	uv_update_time(client->loop);
	transfer = new_transfer(client, "GET", watch->path, "", "application/json", watch->timeout_ms);
	if (!transfer)
		return NULL;
	transfer->callbacks = *callbacks;
	transfer->is_watch = true;
	transfer->limit = watch->max_line;
	transfer->idle_ms = watch->idle_ms;
	mlb_kube_start(client, transfer);
	if (transfer->idle_ms)
		arm_watchdog(client, uv_now(client->loop) + transfer->idle_ms);
	return transfer;
}

void mlb_kube_cancel(struct mlb_transfer *transfer)
{
	end(transfer, "ECANCELED", "cancelled");
}

void mlb_kube_end_watch(struct mlb_transfer *transfer)
{
	if (transfer->is_delivering)
		transfer->is_ended = true;
	else
		mlb_kube_discard(transfer);
}

void mlb_kube_stats(const struct mlb_kube *client, struct mlb_kube_stats *ret_stats)
{
	*ret_stats = client->stats;
}

bool mlb_kube_count(const struct mlb_kube *client, size_t index, const char **ret_method, int *ret_status,
		    uint64_t *ret_count)
{
	if (index >= client->ncounts)
		return false;
	*ret_method = client->counts[index].method;
	*ret_status = client->counts[index].status;
	*ret_count = client->counts[index].count;
	return true;
}
