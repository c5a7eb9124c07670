"""Values that set each key of the chart outside `config`, as releases that may exist."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "a" * 64
LABELS = {"team": "profiles"}
PEERS = [{"namespaceSelector": {"matchLabels": LABELS}}]
RESOURCES = {"requests": {"ephemeral-storage": "64Mi"}, "limits": {"cpu": "500m", "memory": "1536Mi"}}
MONITOR = {
    "enabled": True,
    "labels": LABELS,
    "annotations": LABELS,
    "interval": "20s",
    "scrapeTimeout": "5s",
    "honorLabels": True,
    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
    "metricRelabelings": [{"action": "labeldrop", "regex": "way"}],
}
MATCH = {"matchLabels": LABELS}

VOLUME: dict[str, Any] = {
    "nameOverride": "profiler",
    "fullnameOverride": "profiles",
    "image": {"registry": "r.example", "repository": "team/operator", "tag": "2", "pullPolicy": "Always"},
    "helperImage": {
        "registry": "h.example",
        "repository": "team/samply",
        "tag": "3",
        "rewrittenAs": ["m.example/samply"],
    },
    "imagePullSecrets": [{"name": "pull"}],
    "config": {
        "targets": {"namespaces": ["default"]},
        "feldera": {"url": "http://feldera", "secretName": "feldera-keys"},
        "prometheus": {"url": "http://prometheus", "secretName": "prometheus-token"},
        "auth": {"apiKeys": {"enabled": True}},
        "api": {"basePath": "/profiles", "links": {"secretName": "links"}},
    },
    "crds": {"keep": False},
    "serviceAccount": {"name": "profiler", "annotations": LABELS},
    "persistence": {
        "size": "20Gi",
        "storageClass": "fast",
        "accessModes": ["ReadWriteOncePod"],
        "volumeName": "profiles-1",
        "annotations": LABELS,
    },
    "service": {
        "type": "LoadBalancer",
        "port": 443,
        "nodePort": 30080,
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "annotations": LABELS,
        "labels": LABELS,
        "loadBalancerClass": "example.com/internal",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "externalTrafficPolicy": "Local",
    },
    "tls": {"secretName": "certificate"},
    "extraCaBundle": {"configMapName": "authorities", "key": "bundle.pem"},
    "networkPolicy": {
        "enabled": True,
        "from": PEERS,
        "metricsFrom": PEERS,
        "egress": {
            "enabled": True,
            "apiServerCidrs": ["10.0.0.1/32"],
            "apiServerPorts": [6443],
            "extra": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        },
    },
    "ingress": {
        "enabled": True,
        "className": "internal",
        "annotations": LABELS,
        "hosts": ["profiles.example.com"],
        "tls": [{"secretName": "certificate"}],
        "paths": [{"path": "/profiles", "pathType": "Prefix"}],
    },
    "httpRoute": {
        "enabled": True,
        "annotations": LABELS,
        "parentRefs": [{"name": "gateway", "namespace": "infra"}],
        "hostnames": ["profiles.example.com"],
        "matches": [{"path": {"type": "PathPrefix", "value": "/profiles"}}],
        "timeouts": {"request": "1h"},
    },
    "metrics": {
        "annotations": True,
        "podMonitor": MONITOR,
        "serviceMonitor": MONITOR,
        "prometheusRule": {"enabled": True, "labels": LABELS, "annotations": LABELS, "alertLabels": LABELS},
    },
    "operator": {"resources": RESOURCES},
    "api": {"resources": RESOURCES},
    "tests": {"resources": RESOURCES},
    "terminationGracePeriodSeconds": 60,
    "podSecurityContext": {
        "runAsUser": 1000,
        "supplementalGroups": [2000],
    },
    "securityContext": {"runAsGroup": 1000},
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token", "optional": True}}},
    ],
    "extraVolumes": [{"name": "extra", "configMap": {"name": "extra"}}],
    "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra", "readOnly": True}],
    "extraLabels": LABELS,
    "deploymentAnnotations": LABELS,
    "podLabels": {"sidecar.istio.io/inject": "false"},
    "podAnnotations": LABELS,
    "revisionHistoryLimit": 0,
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": LABELS,
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "profiles", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {"labelSelector": MATCH, "topologyKey": "kubernetes.io/hostname"},
                }
            ]
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": MATCH}
    ],
    "dnsPolicy": "None",
    "dnsConfig": {
        "nameservers": ["10.0.0.10"],
        "searches": ["example.com"],
        "options": [{"name": "ndots", "value": "2"}],
    },
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["login.example.com"]}],
}
BUCKET: dict[str, Any] = {
    "global": {"imageRegistry": "r.example", "imagePullSecrets": [{"name": "pull"}]},
    "image": {"digest": DIGEST},
    "helperImage": {"digest": DIGEST},
    "replicas": 2,
    "config": {
        "targets": {"clusterWide": True},
        "ephemeral": {"namespaces": ["default"]},
        "storage": {"kind": "Bucket", "bucket": {"url": "s3://profiles", "roleArn": "arn:aws:iam::1:role/profiles"}},
    },
    "storageAccess": {"credentialsSecret": "bucket", "tokenAudience": "sts.amazonaws.com"},
    "extraCaBundle": {"secretName": "authorities"},
    "networkPolicy": {"enabled": True, "from": PEERS, "egress": {"enabled": True}},
    "ingress": {"enabled": True},
}
LEAST: dict[str, Any] = {
    "crds": {"install": False},
    "rbac": {"create": False, "readCrd": False, "userRoles": False, "pinOperator": False},
    "linkSecret": {"create": False},
    "serviceAccount": {"create": False},
    "config": {
        "storage": {"kind": "Bucket", "bucket": {"url": "gs://profiles"}},
        "api": {"links": {"secretName": "links"}},
    },
    "storageAccess": {"spoolOnClaim": True},
    "persistence": {"existingClaim": "profiles", "keep": False},
    "runtimeClassName": "gvisor",
    "tests": {"enabled": False},
}
RELEASES = {"volume": VOLUME, "bucket": BUCKET, "least": LEAST}
