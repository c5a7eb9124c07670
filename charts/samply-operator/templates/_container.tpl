{{- /* What both containers have in common. */ -}}
{{- define "samply-operator.container" -}}
image: {{ include "samply-operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
env:
  - name: SAMPLY_OPERATOR_SETTINGS
    value: /etc/samply-operator/settings.json
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.namespace
  - name: POD_NAME
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.name
  - name: RELEASE_NAME
    value: {{ .Release.Name | quote }}
{{- end -}}
