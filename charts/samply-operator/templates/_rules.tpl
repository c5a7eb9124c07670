{{- /* The operator's permissions in a namespace with pipelines, each verb with its reason. */ -}}
{{- define "samply-operator.rules" -}}
- apiGroups: [samply.feldera.com]
  resources: [samplyprofiles]
  verbs:
    - get     # read an object again before acting on it
    - list    # the whole state, at start and every ten minutes
    - watch   # new objects, deletions, changed annotations
    - create  # one object per ordinal, for a trigger annotation, a SamplyTrigger or a POST
    - patch   # annotations: stop, pin
    - delete  # after their time to live, for DELETE over HTTP, and for a SamplyTrigger's Replace and history limits
- apiGroups: [samply.feldera.com]
  resources: [samplyprofiles/status]
  verbs:
    - patch   # how far a recording is, and how it ended
- apiGroups: [samply.feldera.com]
  resources: [samplytriggers]
  verbs:
    - list    # what is to be recorded when
    - watch   # new, changed and deleted ones
- apiGroups: [samply.feldera.com]
  resources: [samplytriggers/status]
  verbs:
    - patch   # when it fired, and why it did not
- apiGroups: [""]
  resources: [pods]
  verbs:
    - get     # the same container as before? asked before and after each step
    - list    # find the pipelines
    - watch   # restarts, scaling, trigger annotations
    - patch   # turn a trigger annotation into a claim, and remove it; a policy of the chart keeps it to its annotations
- apiGroups: [""]
  resources: [pods/exec]
  verbs:
    - get     # exec over WebSocket before Kubernetes 1.35
    - create  # exec over WebSocket since Kubernetes 1.35
- apiGroups: [""]
  resources: [namespaces]
  verbs:
    - get     # its own one only: is it being deleted, and still the same one? Then its profiles stay
- apiGroups: [apps]
  resources: [statefulsets]
  verbs:
    - get     # names and ordinals of one pipeline
    - list    # pipelines, those without pods too
    - watch   # scaling, trigger annotations
    - patch   # turn a trigger annotation into a claim, and remove it; a policy of the chart keeps it to its annotations
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs:
    - get     # who records this pod?
    - create  # one recording per pod, also with two operators by mistake
    - update  # renew it, or take over one that ran out; a policy of the chart keeps it to its own names
    - delete  # release it
- apiGroups: [""]
  resources: [events]
  verbs:
    - create  # tell what a user acts on
    - patch   # count a repeated one instead of adding it again
    - list    # those about a pipeline, for its support bundle
{{- end -}}

{{- /* The same, where mode Ephemeral is allowed. */ -}}
{{- define "samply-operator.ephemeralRules" -}}
- apiGroups: [""]
  resources: [pods/ephemeralcontainers]
  verbs:
    - patch   # add the ephemeral container that samply runs in; a policy of the chart pins what it may be
{{- end -}}
