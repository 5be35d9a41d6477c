/* libFuzzer: the reader of PCP and NAT-PMP answers. It accepts no request, and no success that is cut short. */
#include "../../core/pcp.c"

#include <stdlib.h>

static void check(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_pcp_answer answer;
	const char *why = NULL;

	if (mlb_pcp_decode(data, size, &answer, &why) < 0) {
		check(why != NULL);
		return 0;
	}
	check(size >= NATPMP_HEADER && (data[1] & IS_ANSWER));
	check(mlb_pcp_result_text(answer.version, answer.result) != NULL);
	if (answer.version == MLB_PCP)
		check(size >= PCP_HEADER && size <= MLB_PCP_MESSAGE_MOST);
	if (answer.result == 0)
		check(answer.type != MLB_PCP_OTHER);
	if (answer.type == MLB_PCP_MAP)
		check(size >= (answer.version == MLB_PCP ? PCP_HEADER + PCP_MAP : NATPMP_MAP_ANSWER));
	return 0;
}
