from tests.integration.ml_backend.test_fuzz import door
import sys, random, collections, json, pickle
import tests.integration.ml_backend.test_fuzz as t
from tests.fixtures.wire import shoot
from concurrent.futures import ThreadPoolExecutor
import time, pytest
N=int(sys.argv[1]) if len(sys.argv)>1 and sys.argv[1].isdigit() else 3000
def test_explore(door):
    import os
    n=int(os.environ.get("N","2000")); seed=random.getrandbits(32)
    bad=collections.Counter(); examples={}
    def go(shot):
        b=time.monotonic()
        try: reply=shoot(door.settings.ml_backend_port, shot); t.check(shot,reply)
        except TimeoutError: key=(shot.kind,"timeout")
        except AssertionError as e: key=(shot.kind, reply.status, reply.body[:60])
        except Exception as e: key=(shot.kind, repr(e)[:80])
        else:
            s=time.monotonic()-b
            if s>1: print("slow",shot.kind,round(s,2),len(shot.data),shot.data[:60])
            door.note(shot.kind, reply.status, s); return
        bad[key]+=1; examples.setdefault(key, shot)
    shots=t.malformed(t.spoilable(), door.token)
    with ThreadPoolExecutor(4) as p:
        for s in range(0,n,250):
            g=time.monotonic(); d=t.drawn(shots, seed+s, 250); g2=time.monotonic()
            list(p.map(go,d)); g3=time.monotonic()
            print("round", round(g2-g,1), round(g3-g2,1), door.process.memory_info().rss>>20, flush=True)
            try: door.look()
            except Exception as e: print("LOOK FAILED", repr(e)[:300])
    print(bad)
    for k,v in examples.items(): print(k, len(v.data), v.data[:700])
    pickle.dump(examples, open("/tmp/fuzz_examples.pkl","wb"))
    print(door.kinds, door.statuses, door.slowest, door.resident_mb)
    import shutil; shutil.copy(door.settings.home/"server.log","/tmp/fuzz_server.log")
