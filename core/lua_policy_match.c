/* core/lua_policy_match.c: string.find, gmatch, gsub, match of a policy, as in the Lua 5.4 manual (6.4), on the matcher
 * that counts its steps; and of a person's session, as module `moonlb.core.matching`. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "lua_policy_env.h"
#include "policy_pattern.h"
#include "policy_sandbox_impl.h"

#define STEPS_A_UNIT 2		/* comparisons in the time of an instruction */
#define BYTES_A_UNIT 64		/* bytes of a plain search (memmem(3) is linear) */
#define STEPS_UNGUARDED ((int64_t)1 << 40)
#define STEPS_SESSION (((int64_t)1 << 27) - 1)	/* of one call in a session: up to a second */
#define STEPS_A_LOOK 14				/* a session's hook is asked every 2^14 of them */

/* The count hook cannot run in the middle of C: call it, as Lua would between two instructions. It may raise. */
static void run_hook(lua_State *L)
{
	lua_Hook hook = lua_gethook(L);
	lua_Debug ar = { .event = LUA_HOOKCOUNT, .currentline = -1 };
	int top = lua_gettop(L);

	if (!hook)
		return;
	luaL_checkstack(L, LUA_MINSTACK, "hook");
	hook(L, &ar);
	lua_settop(L, top);
}

static int64_t steps_left(lua_State *L)
{
	int64_t left;

	if (!mlb_policy_sandbox_of(L))
		return STEPS_SESSION;
	left = mlb_policy_budget_left(L);
	return left < STEPS_UNGUARDED / STEPS_A_UNIT ? left * STEPS_A_UNIT : STEPS_UNGUARDED;
}

static void charge(lua_State *L, int64_t before, int64_t left)
{
	if (mlb_policy_sandbox_of(L))
		mlb_policy_charge(L, (uint64_t)(before - left) / STEPS_A_UNIT);
	else if (before >> STEPS_A_LOOK != left >> STEPS_A_LOOK)
		run_hook(L);
}

/* Strings at `text` and `pattern` of the stack; `anchored`: a leading '^' was taken off. */
static bool prepare(lua_State *L, int text, int pattern, struct mlb_pattern *match)
{
	bool anchored;

	match->text = luaL_checklstring(L, text, &match->text_length);
	match->pattern = luaL_checklstring(L, pattern, &match->pattern_length);
	match->steps = steps_left(L);
	anchored = match->pattern_length > 0 && match->pattern[0] == '^';
	if (anchored) {
		match->pattern++;
		match->pattern_length--;
	}
	return anchored;
}

/* Raise what the matcher could not do; a match that ran out of steps ends the guarded call. */
static int fail(lua_State *L, const struct mlb_pattern *match, int result)
{
	if (result == -EINVAL)
		return luaL_error(L, "%s", match->error);
	if (result == -ELOOP)
		return luaL_error(L, "pattern too complex");
	if (mlb_policy_sandbox_of(L))
		mlb_policy_charge(L, UINT64_MAX);
	else
		run_hook(L);
	return luaL_error(L, "pattern takes too long");
}

/* mlb_pattern_match at `at`, and the charge for it. 1 or 0; raises. */
static int match_at(lua_State *L, struct mlb_pattern *match, size_t at, size_t *ret_end)
{
	int64_t before = match->steps;
	int result = mlb_pattern_match(match, at, ret_end);

	if (result < 0)
		fail(L, match, result);
	charge(L, before, match->steps);
	return result;
}

static void push_capture(lua_State *L, const struct mlb_pattern *match, int index)
{
	const struct mlb_pattern_capture *capture = &match->captures[index];

	if (capture->length == MLB_CAPTURE_OPEN)
		luaL_error(L, "unfinished capture");
	if (capture->length == MLB_CAPTURE_POSITION)
		lua_pushinteger(L, (lua_Integer)capture->start + 1);
	else
		lua_pushlstring(L, match->text + capture->start, capture->length);
}

/* The captures, or the whole match where there are none. Returns how many values. */
static int push_captures(lua_State *L, const struct mlb_pattern *match, size_t start, size_t end)
{
	luaL_checkstack(L, match->captured + 1, "too many captures");
	if (match->captured == 0) {
		lua_pushlstring(L, match->text + start, end - start);
		return 1;
	}
	for (int i = 0; i < match->captured; i++)
		push_capture(L, match, i);
	return match->captured;
}

/* The offset that a position argument names: negative counts from the end. Beyond the end: length + 1. */
static size_t start_offset(lua_State *L, int arg, size_t length)
{
	lua_Integer init = luaL_optinteger(L, arg, 1);

	if (init > 0)
		return (lua_Unsigned)init - 1 > length ? length + 1 : (size_t)init - 1;
	if (init == 0 || init < -(lua_Integer)length)
		return 0;
	return length - (size_t)-init;
}

/* Search from `at` on. 1 with both offsets, or 0. */
static int search(lua_State *L, struct mlb_pattern *match, bool anchored, size_t at, size_t *ret_start,
		  size_t *ret_end)
{
	for (; at <= match->text_length; at++) {
		if (match_at(L, match, at, ret_end)) {
			*ret_start = at;
			return 1;
		}
		if (anchored)
			break;
	}
	return 0;
}

static int find_plain(lua_State *L, size_t at)
{
	size_t length, wanted;
	const char *text = lua_tolstring(L, 1, &length);
	const char *what = lua_tolstring(L, 2, &wanted);
	const char *found = memmem(text + at, length - at, what, wanted);

	if (mlb_policy_sandbox_of(L))
		mlb_policy_charge(L, (length - at + wanted) / BYTES_A_UNIT);
	if (!found)
		return luaL_pushfail(L), 1;
	lua_pushinteger(L, found - text + 1);
	lua_pushinteger(L, found - text + (lua_Integer)wanted);
	return 2;
}

static bool is_plain(const char *pattern, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (pattern[i] && strchr("^$*+?.([%-", pattern[i]))
			return false;
	return true;
}

static int string_find(lua_State *L)
{
	struct mlb_pattern match;
	bool anchored = prepare(L, 1, 2, &match);
	size_t at = start_offset(L, 3, match.text_length);
	size_t start, end;

	if (at > match.text_length)
		return luaL_pushfail(L), 1;
	if (lua_toboolean(L, 4) || (!anchored && is_plain(match.pattern, match.pattern_length)))
		return find_plain(L, at);
	if (!search(L, &match, anchored, at, &start, &end))
		return luaL_pushfail(L), 1;
	lua_pushinteger(L, (lua_Integer)start + 1);
	lua_pushinteger(L, (lua_Integer)end);
	return 2 + (match.captured ? push_captures(L, &match, start, end) : 0);
}

static int string_match(lua_State *L)
{
	struct mlb_pattern match;
	bool anchored = prepare(L, 1, 2, &match);
	size_t at = start_offset(L, 3, match.text_length);
	size_t start, end;

	if (!search(L, &match, anchored, at, &start, &end))
		return luaL_pushfail(L), 1;
	return push_captures(L, &match, start, end);
}

/* Upvalues: text, pattern, offset to go on from, end of the last match (or -1): an empty match there is none. */
static int gmatch_next(lua_State *L)
{
	struct mlb_pattern match;
	size_t end;

	if (prepare(L, lua_upvalueindex(1), lua_upvalueindex(2), &match)) {
		match.pattern--;	/* '^' is a plain character here */
		match.pattern_length++;
	}
	for (size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(3)); at <= match.text_length; at++) {
		if (!match_at(L, &match, at, &end) || (lua_Integer)end == lua_tointeger(L, lua_upvalueindex(4)))
			continue;
		lua_pushinteger(L, (lua_Integer)end);
		lua_copy(L, -1, lua_upvalueindex(3));
		lua_replace(L, lua_upvalueindex(4));
		return push_captures(L, &match, at, end);
	}
	return 0;
}

static int string_gmatch(lua_State *L)
{
	size_t length;

	luaL_checklstring(L, 1, &length);
	luaL_checkstring(L, 2);
	lua_pushinteger(L, (lua_Integer)start_offset(L, 3, length));
	lua_replace(L, 3);
	lua_settop(L, 3);
	lua_pushinteger(L, -1);
	lua_pushcclosure(L, gmatch_next, 4);
	return 1;
}

/* Append the replacement text at index 3, its %0 to %9 and %% filled in. */
static void add_template(lua_State *L, luaL_Buffer *buffer, const struct mlb_pattern *match, size_t start, size_t end)
{
	size_t length;
	const char *text = lua_tolstring(L, 3, &length);

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c != '%') {
			luaL_addchar(buffer, c);
			continue;
		}
		c = ++i < length ? text[i] : 0;
		if (c == '%') {
			luaL_addchar(buffer, '%');
		} else if (c == '0' || (c == '1' && match->captured == 0)) {
			luaL_addlstring(buffer, match->text + start, end - start);
		} else if (c >= '1' && c <= '9') {
			if (c - '1' >= match->captured)
				luaL_error(L, "invalid capture index %%%c in replacement string", c);
			push_capture(L, match, c - '1');
			luaL_addvalue(buffer);
		} else {
			luaL_error(L, "invalid use of '%%' in replacement string");
		}
	}
}

/* Append what stands for the match; nil or false keeps it. */
static void add_replacement(lua_State *L, luaL_Buffer *buffer, const struct mlb_pattern *match, size_t start,
			    size_t end)
{
	switch (lua_type(L, 3)) {
	case LUA_TFUNCTION:
		lua_pushvalue(L, 3);
		lua_call(L, push_captures(L, match, start, end), 1);
		break;
	case LUA_TTABLE:
		if (match->captured > 0)
			push_capture(L, match, 0);
		else
			lua_pushlstring(L, match->text + start, end - start);
		lua_gettable(L, 3);
		break;
	default:
		add_template(L, buffer, match, start, end);
		return;
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		luaL_addlstring(buffer, match->text + start, end - start);
	} else if (!lua_isstring(L, -1)) {
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	} else {
		luaL_addvalue(buffer);
	}
}

static int string_gsub(lua_State *L)
{
	struct mlb_pattern match;
	bool anchored = prepare(L, 1, 2, &match);
	lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)match.text_length + 1);
	int type = lua_type(L, 3);
	size_t at = 0, last = SIZE_MAX, end;
	lua_Integer count = 0;
	luaL_Buffer buffer;

	luaL_argexpected(L, lua_isstring(L, 3) || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
			 "string/function/table");
	lua_settop(L, 3);
	luaL_buffinit(L, &buffer);
	while (count < most && at <= match.text_length) {
		if (match_at(L, &match, at, &end) && end != last) {
			count++;
			add_replacement(L, &buffer, &match, at, end);
			at = last = end;
		} else if (at < match.text_length) {
			luaL_addchar(&buffer, match.text[at++]);
		} else {
			break;
		}
		if (anchored)
			break;
	}
	if (at < match.text_length)
		luaL_addlstring(&buffer, match.text + at, match.text_length - at);
	luaL_pushresult(&buffer);
	lua_pushinteger(L, count);
	return 2;
}

static const luaL_Reg functions[] = {
	{ "find", string_find },
	{ "gmatch", string_gmatch },
	{ "gsub", string_gsub },
	{ "match", string_match },
	{ NULL, NULL },
};

void mlb_policy_add_matching(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}

int luaopen_moonlb_core_matching(lua_State *L);

/* moonlb.core.matching: find, gmatch, gsub, match as of `string`, but each call ends after a bounded number of steps, and
 * the count hook (debug.sethook) of the state runs meanwhile. */
int luaopen_moonlb_core_matching(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
