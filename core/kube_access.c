/* Where the API server is and which credentials we show. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kube_private.h"

#define TOKEN_CHECK_MS 60000
#define MAX_TOKEN 65536

static int copy(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

static void forget(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

int mlb_kube_access_set_token(struct mlb_kube_access *access, const char *token)
{
	char *own = NULL;

	/* RFC 6750 section 2.1 allows less; what matters is that no header can be forged. */
	for (const char *c = token; c && *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return -EINVAL;
	if (token && access->token && strcmp(token, access->token) == 0)
		return 0;
	if (copy(token, &own) != 0)
		return -ENOMEM;
	forget(&access->token);
	access->token = own;
	access->token_generation++;
	return 0;
}

/* The file's text without white space at its end. */
static int read_token(struct mlb_kube_access *access, int fd)
{
	char *text = malloc(MAX_TOKEN);
	size_t length = 0;
	ssize_t n = 0;
	int err;

	if (!text)
		return -ENOMEM;
	while (length < MAX_TOKEN - 1 && (n = read(fd, text + length, MAX_TOKEN - 1 - length)) > 0)
		length += (size_t)n;
	err = n < 0 ? -errno : 0;
	while (length > 0 && strchr(" \t\r\n", text[length - 1]))
		length--;
	text[length] = '\0';
	if (!err)
		err = length == 0 || strlen(text) != length ? -EINVAL : mlb_kube_access_set_token(access, text);
	explicit_bzero(text, MAX_TOKEN);
	free(text);
	return err;
}

static bool is_unchanged(const struct mlb_kube_access *access, const struct stat *file)
{
	return file->st_ino == access->token_inode && file->st_dev == access->token_device &&
	       file->st_mtim.tv_sec == access->token_mtime.tv_sec &&
	       file->st_mtim.tv_nsec == access->token_mtime.tv_nsec;
}

static int load_token(struct mlb_kube_access *access, bool must)
{
	int fd = open(access->token_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat file;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &file) != 0)
		err = -errno;
	else if (must || !is_unchanged(access, &file))
		err = read_token(access, fd);
	if (!err) {
		access->token_inode = file.st_ino;
		access->token_device = file.st_dev;
		access->token_mtime = file.st_mtim;
	}
	close(fd);
	return err;
}

void mlb_kube_access_refresh(struct mlb_kube_access *access, uint64_t now_ms, bool must)
{
	if (!access->token_file || (!must && now_ms - access->token_checked_ms < TOKEN_CHECK_MS))
		return;
	access->token_checked_ms = now_ms;
	load_token(access, must);
}

/* `server` taken apart: base is scheme://name:port/path, and with server_name the name of the certificate stands in it, while
 * the connection and the Host header go to the real one. */
static int read_server(struct mlb_kube_access *access, const char *server, const char *server_name)
{
	char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *zone = NULL;
	CURLU *url = curl_url();
	int err = -EINVAL;
	size_t length;

	if (!url)
		return -ENOMEM;
	if (curl_url_set(url, CURLUPART_URL, server, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		goto out;
	access->is_tls = strcmp(scheme, "https") == 0;
	if (!access->is_tls && strcmp(scheme, "http") != 0)
		goto out;
	length = strlen(path);
	while (length > 0 && path[length - 1] == '/')
		path[--length] = '\0';
	/* libcurl keeps the zone of a link-local address apart: `[fe80::1%25eth0]`, RFC 6874. */
	if (!server_name && curl_url_get(url, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK)
		err = asprintf(&access->base, "%s://%.*s%%25%s]:%s%s", scheme, (int)strlen(host) - 1, host, zone, port, path);
	else
		err = asprintf(&access->base, "%s://%s:%s%s", scheme, server_name ? server_name : host, port, path);
	err = err < 0 ? -ENOMEM : 0;
	if (!err && server_name &&
	    (asprintf(&access->host_header, "Host: %s:%s", host, port) < 0 ||
	     asprintf(&access->connect_to, "%s:%s:%s:%s", server_name, port, host, port) < 0))
		err = -ENOMEM;
out:
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_free(zone);
	curl_url_cleanup(url);
	return err;
}

static int check_readable(const char *file, char *ret_problem, size_t size)
{
	if (!file || access(file, R_OK) == 0)
		return 0;
	snprintf(ret_problem, size, "read %s", file);
	return -errno;
}

static int copy_options(struct mlb_kube_access *access, const struct mlb_kube_options *options)
{
	if (copy(options->ca_file, &access->ca_file) || copy(options->ca_data, &access->ca_data) ||
	    copy(options->cert_file, &access->cert_file) || copy(options->cert_data, &access->cert_data) ||
	    copy(options->key_file, &access->key_file) || copy(options->key_data, &access->key_data) ||
	    copy(options->proxy, &access->proxy) || copy(options->token_file, &access->token_file) ||
	    copy(options->user_agent, &access->user_agent))
		return -ENOMEM;
	/* CURLOPT_INTERFACE: with `host!` it is an address, never the name of an interface. */
	if (options->source && asprintf(&access->source, "host!%s", options->source) < 0)
		return -ENOMEM;
	return 0;
}

static int open_access(struct mlb_kube_access *access, const struct mlb_kube_options *options, char *ret_problem,
		       size_t size)
{
	int err;

	snprintf(ret_problem, size, "server %s", options->server);
	err = read_server(access, options->server, options->server_name);
	if (!err)
		err = copy_options(access, options);
	if (!err)
		err = check_readable(options->ca_data ? NULL : options->ca_file, ret_problem, size);
	if (!err)
		err = check_readable(options->cert_data ? NULL : options->cert_file, ret_problem, size);
	if (!err)
		err = check_readable(options->key_data ? NULL : options->key_file, ret_problem, size);
	if (err)
		return err;
	if (!options->token_file) {
		snprintf(ret_problem, size, "token");
		return mlb_kube_access_set_token(access, options->token);
	}
	snprintf(ret_problem, size, "read token file %s", options->token_file);
	return load_token(access, true);
}

int mlb_kube_access_open(struct mlb_kube_access *access, const struct mlb_kube_options *options, uint64_t now_ms,
			 char *ret_problem, size_t size)
{
	int err = open_access(access, options, ret_problem, size);

	access->token_checked_ms = now_ms;
	if (err)
		mlb_kube_access_close(access);
	return err;
}

void mlb_kube_access_close(struct mlb_kube_access *access)
{
	forget(&access->token);
	forget(&access->key_data);
	free(access->base);
	free(access->host_header);
	free(access->connect_to);
	free(access->ca_file);
	free(access->ca_data);
	free(access->cert_file);
	free(access->cert_data);
	free(access->key_file);
	free(access->proxy);
	free(access->user_agent);
	free(access->source);
	free(access->token_file);
	*access = (struct mlb_kube_access){ 0 };
}
