/* A library that looks like NCCL as far as opening it goes. The build makes several, by what it defines. */
#ifndef OTHER
int ncclGetVersion(int* version) {
  *version = VERSION;
#ifdef MUTE
  return 3;
#else
  return 0;
#endif
}
#endif
#define EMPTY(name) \
  void name(void) {}
EMPTY(ncclGetErrorString)
EMPTY(ncclGetUniqueId)
EMPTY(ncclCommInitRankConfig)
EMPTY(ncclCommGetAsyncError)
EMPTY(ncclCommAbort)
EMPTY(ncclGroupStart)
EMPTY(ncclGroupEnd)
EMPTY(ncclRecv)
#ifndef LACKING
EMPTY(ncclSend)
#endif
#ifndef TERSE
EMPTY(ncclGetLastError)
#endif
