"""Real rows of every price format, small enough to read."""

from __future__ import annotations

OWN = """name,provider,region,instance,accelerator,accelerators_per_server,tenure,price,currency,unit,date,source
a,Acme,eu-1,big,h100-sxm-80g,8,on_demand,40.0,USD,server_hour,2026-10-01,https://acme.example/prices
b,Acme,eu-1,big,h100-sxm-80g,8,spot,16.0,USD,server_hour,2026-10-01,https://acme.example/prices
c,Bolt,cn-2,card,a800-sxm-80g,1,on_demand,9.9,CNY,accelerator_hour,2026-10-01,https://bolt.example/prices
d,Acme,eu-1,old,a100-sxm-80g,8,on_demand,16.0,USD,server_hour,2026-10-01,https://acme.example/prices
e,Acme,eu-1,old,a100-sxm-80g,8,reserved_1y,10.0,USD,server_hour,2026-10-01,https://acme.example/prices
"""

OWN_YAML = """- provider: Acme
  region: eu-1
  instance: big
  accelerator: h100-sxm-80g
  accelerators_per_server: 8
  tenure: on_demand
  price: 40.0
  currency: USD
  unit: server_hour
  date: 2026-10-01
  sources: {"*": "https://acme.example/prices"}
"""

DATED = """date,commit,region,instance,accelerator,accel_count,on_demand_per_hour_usd,spot_per_hour_usd,\
reserved_1y_per_hour_usd,reserved_3y_per_hour_usd,on_demand_per_accel_hour_usd,source_url
2022-02-09,d4890e9,us-central1,a2-highgpu-8g,a100-sxm-40g,8,29.3871,,18.5137,10.2857,3.67,https://gcp.example/d4890e9
2026-09-09,e4890e9,us-central1,a2-highgpu-8g,a100-sxm-40g,8,29.3871,17.6321,18.5137,10.2857,3.67,https://gcp.example/e4890e9
2026-09-09,e4890e9,us-east4,a3-highgpu-8g,h100-sxm-80g,8,88.49,40.1,,,11.06,https://gcp.example/e4890e9
"""

SKYPILOT = """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,SpotPrice
gpu_8x_a100,A100,8,124,1800,10.32,europe-central-1,
gpu_8x_a100_80gb_sxm4,A100-80GB,8,240,1800,14.32,us-east-1,
gpu_8x_h100_sxm5,H100,8.0,208,1800,23.92,us-east-1,12.0
gpu_1x_a6000,A6000,1,14,100,0.8,us-east-1,
"""

GPUHUNT = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor
8x-h100,US,22.4,208,1800,8,H100,80.0,False,1000,nvidia
8x-h100,US,12.4,208,1800,8,H100,80.0,True,1000,nvidia
8x-a100,EU,11.2,208,1800,8,A100,80.0,False,1000,nvidia
cpu-only,EU,0.2,8,64,0,,,False,100,
"""

ALL = {
    "own.csv": OWN,
    "own.yaml": OWN_YAML,
    "dated.csv": DATED,
    "skypilot.csv": SKYPILOT,
    "gpuhunt.csv": GPUHUNT,
}
